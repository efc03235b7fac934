//! Which chapter of the header an item belongs to: that of the folder in which it stands, or of its op.

use super::source::{Item, Room, Sources};
use crate::arrows::FOLDERS;
use std::collections::BTreeMap;

/// Folder, title of its chapter, and the sections that come first in it. Others follow by name.
const TITLES: [(&str, &str, &[&str]); 3] = [
    (
        "abi",
        "Types",
        &[
            "status", "error", "dtype", "tensor", "weight", "kv_cache", "size", "stream",
        ],
    ),
    ("runtime", "Runtime", &["context", "stream", "memory", "event", "graph"]),
    (
        "system",
        "Device and telemetry",
        &["device_info", "profile", "reading", "telemetry"],
    ),
];

/// The folder of which each module is a chapter.
const OPS: &str = "ops";

pub struct Chapter<'a> {
    /// Of the folder, or of the op.
    pub name: String,
    pub title: String,
    pub intro: String,
    /// One without a name for an op.
    pub sections: Vec<Section<'a>>,
}

pub struct Section<'a> {
    pub room: Room,
    pub name: String,
    pub intro: String,
    pub items: Vec<&'a Item>,
}

impl<'a> Chapter<'a> {
    pub fn items(&self) -> impl Iterator<Item = &'a Item> + '_ {
        self.sections.iter().flat_map(|section| section.items.iter().copied())
    }
}

/// The room of the item's chapter and that of its section.
fn place(item: &Item) -> (Room, Room) {
    let depth = if item.room[0] == OPS { 2 } else { 1 };
    let up_to = |depth: usize| item.room[..depth.min(item.room.len())].to_vec();
    (up_to(depth), up_to(2))
}

/// Puts what others need in front of them and otherwise keeps the order. `items` are those that one of `things` holds.
fn in_order<'a, T>(
    things: Vec<T>,
    name: impl Fn(&T) -> String,
    items: impl for<'t> Fn(&'t T) -> Vec<&'a Item>,
) -> Vec<T> {
    let mut home = BTreeMap::new();
    for (i, thing) in things.iter().enumerate() {
        home.extend(items(thing).into_iter().map(|item| (item.name.as_str(), i)));
    }
    let needs: Vec<Vec<usize>> = things
        .iter()
        .enumerate()
        .map(|(i, thing)| {
            let used = items(thing).into_iter().flat_map(Item::uses);
            used.filter_map(|name| home.get(name).copied())
                .filter(|&other| other != i)
                .collect()
        })
        .collect();
    fn visit(i: usize, needs: &[Vec<usize>], path: &mut Vec<usize>, order: &mut Vec<usize>) -> Result<(), Vec<usize>> {
        if order.contains(&i) {
            return Ok(());
        }
        let again = path.contains(&i);
        path.push(i);
        if again {
            return Err(path.clone());
        }
        for &other in &needs[i] {
            visit(other, needs, path, order)?;
        }
        path.pop();
        order.push(i);
        Ok(())
    }
    let mut order = Vec::new();
    for i in 0..things.len() {
        if let Err(circle) = visit(i, &needs, &mut Vec::new(), &mut order) {
            let names: Vec<_> = circle.iter().map(|&i| name(&things[i])).collect();
            panic!("C needs each of these before the other: {}", names.join(" -> "));
        }
    }
    let mut things: Vec<_> = things.into_iter().map(Some).collect();
    order
        .into_iter()
        .map(|i| things[i].take().expect("each once"))
        .collect()
}

/// The header's chapters: folders as they build on one another, then the ops by name. What C needs earlier comes earlier.
pub fn chapters(sources: &Sources) -> Vec<Chapter<'_>> {
    let mut found: BTreeMap<Room, BTreeMap<Room, Vec<&Item>>> = BTreeMap::new();
    for item in &sources.items {
        let (chapter, section) = place(item);
        let sections = found.entry(chapter).or_default();
        sections.entry(section).or_default().push(item);
    }
    let mut chapters: Vec<(Room, Chapter)> = found
        .into_iter()
        .map(|(room, sections)| (room.clone(), chapter(sources, room, sections)))
        .collect();
    chapters.sort_by_key(|(room, _)| {
        let folder = FOLDERS.iter().position(|folder| *folder == room[0]);
        (room[0] == OPS, folder, room.clone())
    });
    let chapters = chapters.into_iter().map(|(_, chapter)| chapter).collect();
    in_order(
        chapters,
        |chapter| chapter.name.clone(),
        |chapter| chapter.items().collect(),
    )
}

fn chapter<'a>(sources: &Sources, room: Room, sections: BTreeMap<Room, Vec<&'a Item>>) -> Chapter<'a> {
    let name = room.last().expect("a folder").clone();
    let known = TITLES.iter().find(|(folder, ..)| room == [*folder]);
    let (title, first): (&str, &[&str]) = known.map_or((&name, &[]), |(_, title, first)| (title, first));
    let mut sections: Vec<Section> = sections
        .into_iter()
        .map(|(room, items)| Section {
            name: room.last().expect("a file").replace('_', " "),
            intro: intro(sources, &room),
            items: in_order(items, |item| item.name.clone(), |item| vec![*item]),
            room,
        })
        .collect();
    for name in first {
        let there = sections.iter().any(|section| section.room[1] == **name);
        assert!(
            there,
            "src/{}/{name}.rs, which TITLES names, has nothing for C",
            room.join("/")
        );
    }
    sections.sort_by_key(|section| {
        let last = section.room.last().expect("a file");
        let place = first.iter().position(|name| name == last).unwrap_or(first.len());
        (place, section.room.clone())
    });
    Chapter {
        title: title.to_string(),
        intro: intro(sources, &room),
        sections: in_order(
            sections,
            |section| section.name.clone(),
            |section| section.items.clone(),
        ),
        name,
    }
}

fn intro(sources: &Sources, room: &Room) -> String {
    let intro = sources.intros.get(room).filter(|intro| !intro.is_empty());
    intro
        .unwrap_or_else(|| panic!("src/{} says nothing of itself", room.join("/")))
        .clone()
}

#[cfg(test)]
fn sources_of(files: &[(&[&str], &str)]) -> Sources {
    let mut sources = Sources::default();
    for (room, text) in files {
        sources.add(room.iter().map(|name| name.to_string()).collect(), text);
    }
    sources
}

/// No list names the ops of this test.
#[test]
fn an_op_has_a_chapter_and_what_c_needs_comes_first() {
    let sources = sources_of(&[
        (
            &["ops", "alpha"],
            "//! The op `alpha`: one.\n//!\n//! More.\n\npub const REFLEX_ALPHA: u32 = 1;\n
             #[repr(C)] pub struct reflex_alpha_params { pub kind: reflex_beta_kind, pub part: reflex_alpha_part }
             #[repr(C)] pub struct reflex_alpha_part { pub x: u32 }
             pub(crate) struct reflex_private(u8);
             pub extern \"C\" fn reflex_alpha(params: *const reflex_alpha_params) {}",
        ),
        (
            &["ops", "alpha", "more"],
            "//! Flags.\npub const REFLEX_ALPHA_MORE: u32 = 2;",
        ),
        (
            &["ops", "beta"],
            "//! The op `beta`: two.\n#[repr(transparent)] pub struct reflex_beta_kind(pub u32);",
        ),
    ]);
    let chapters = chapters(&sources);
    let found: Vec<(&str, &str, Vec<&str>)> = chapters
        .iter()
        .map(|c| {
            (
                c.title.as_str(),
                c.intro.as_str(),
                c.items().map(|i| i.name.as_str()).collect(),
            )
        })
        .collect();
    let alpha = [
        "REFLEX_ALPHA",
        "reflex_alpha_part",
        "reflex_alpha_params",
        "reflex_alpha",
        "REFLEX_ALPHA_MORE",
    ];
    let expected = [
        ("beta", "The op `beta`: two.", vec!["reflex_beta_kind"]),
        ("alpha", "The op `alpha`: one.", alpha.to_vec()),
    ];
    assert_eq!(found, expected);
}

#[test]
#[should_panic(expected = "before the other: alpha -> beta -> alpha")]
fn chapters_that_need_each_other_are_refused() {
    let sources = sources_of(&[
        (
            &["ops", "alpha"],
            "//! A.\npub type reflex_a = u32;\npub type reflex_b_too = reflex_b;",
        ),
        (
            &["ops", "beta"],
            "//! B.\npub type reflex_b = u32;\npub type reflex_a_too = reflex_a;",
        ),
    ]);
    chapters(&sources);
}
