//! Which room of `src/` imports which: a folder only those that stand before it in `FOLDERS`, and no files in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// From the ground up. The modules of `src/lib.rs` are all here.
pub const FOLDERS: [&str; 9] = [
    "constants",
    "abi",
    "tuning",
    "cuda",
    "runtime",
    "format",
    "ops",
    "cpu",
    "system",
];

type Room = Vec<String>;

#[derive(Default)]
struct Module {
    /// Names that are defined in it.
    items: BTreeSet<String>,
    /// What it gives on under a name, and all of what.
    reexports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
    /// Paths in it that lead into the crate, written as from its root.
    paths: BTreeSet<Vec<String>>,
}

type Crate = BTreeMap<Room, Module>;

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|name| name == "test")
    })
}

struct Reader<'a> {
    room: &'a Room,
    children: &'a BTreeSet<String>,
    module: Module,
}

impl Reader<'_> {
    /// From the crate's root, for a path that leads into it.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut start = self.room.clone();
        let mut rest = path;
        match path.first()?.as_str() {
            "crate" => {
                start.clear();
                rest = &path[1..];
            }
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|name| name == "super") {
                    start.pop();
                    rest = &rest[1..];
                }
            }
            child if self.children.contains(child) => (),
            _ => return None,
        }
        start.extend(rest.iter().cloned());
        Some(start)
    }

    fn read_use(&mut self, tree: &UseTree, before: &[String], public: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.read_use(&path.tree, &with(&path.ident), public),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.read_use(tree, before, public)),
            UseTree::Name(name) if name.ident == "self" => self.leads_to(before, before.last().cloned(), public),
            UseTree::Name(name) => self.leads_to(&with(&name.ident), Some(name.ident.to_string()), public),
            UseTree::Rename(name) => self.leads_to(&with(&name.ident), Some(name.rename.to_string()), public),
            UseTree::Glob(_) => {
                if let Some(path) = self.absolute(before) {
                    match public {
                        true => self.module.globs.push(path),
                        false => drop(self.module.paths.insert(path)),
                    }
                }
            }
        }
    }

    fn leads_to(&mut self, path: &[String], name: Option<String>, public: bool) {
        let Some(path) = self.absolute(path) else { return };
        match (public, name) {
            (true, Some(name)) => drop(self.module.reexports.insert(name, path)),
            _ => drop(self.module.paths.insert(path)),
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let (name, attributes) = match item {
            Item::Const(i) => (Some(&i.ident), &i.attrs),
            Item::Enum(i) => (Some(&i.ident), &i.attrs),
            Item::Fn(i) => (Some(&i.sig.ident), &i.attrs),
            Item::Macro(i) => (i.ident.as_ref(), &i.attrs),
            Item::Mod(i) => (None, &i.attrs),
            Item::Static(i) => (Some(&i.ident), &i.attrs),
            Item::Struct(i) => (Some(&i.ident), &i.attrs),
            Item::Trait(i) => (Some(&i.ident), &i.attrs),
            Item::Type(i) => (Some(&i.ident), &i.attrs),
            Item::Union(i) => (Some(&i.ident), &i.attrs),
            Item::Impl(i) => (None, &i.attrs),
            Item::Use(i) => {
                if !is_test(&i.attrs) {
                    self.read_use(&i.tree, &[], !matches!(i.vis, Visibility::Inherited));
                }
                return;
            }
            _ => return visit::visit_item(self, item),
        };
        if is_test(attributes) {
            return;
        }
        self.module.items.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        // One name alone is of this file.
        if names.len() > 1 && path.leading_colon.is_none() {
            self.module.paths.extend(self.absolute(&names));
        }
        visit::visit_path(self, path);
    }
}

/// Every module that has a file, tests left out.
fn modules() -> Crate {
    fn walk(folder: &Path, room: &Room, rooms: &mut Vec<(Room, std::path::PathBuf)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let below = [room.clone(), vec![name.clone()]].concat();
            match (path.is_dir(), name.as_str()) {
                (_, "tests") => (),
                (true, _) => walk(&path, &below, rooms),
                (false, "mod" | "lib") => rooms.push((room.clone(), path)),
                (false, _) => rooms.push((below, path)),
            }
        }
    }
    let mut rooms = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    walk(&source, &Room::new(), &mut rooms);
    let names: BTreeSet<Room> = rooms.iter().map(|(room, _)| room.clone()).collect();
    let mut found = Crate::new();
    for (room, path) in rooms {
        let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
        let children = names
            .iter()
            .filter(|name| name.len() == room.len() + 1 && name.starts_with(&room));
        let children = children.map(|name| name.last().unwrap().clone()).collect();
        let module = Module::default();
        let mut reader = Reader {
            room: &room,
            children: &children,
            module,
        };
        reader.visit_file(&file);
        let module = reader.module;
        found.insert(room, module);
    }
    found
}

/// The module that defines what a path names.
fn home(all: &Crate, path: &[String], depth: usize) -> Option<Room> {
    let mut room = Room::new();
    for (i, name) in path.iter().enumerate() {
        let below = [room.clone(), vec![name.clone()]].concat();
        let module = &all[&room];
        let rest = &path[i + 1..];
        if all.contains_key(&below) {
            room = below;
        } else if module.items.contains(name) || depth == 0 {
            return Some(room);
        } else if let Some(target) = module.reexports.get(name) {
            return home(all, &[target.as_slice(), rest].concat(), depth - 1);
        } else {
            let from = |glob: &Vec<String>| home(all, &[glob.as_slice(), &path[i..]].concat(), depth - 1);
            let defines = |room: &Room| *room != Room::new() && all[room].items.contains(name);
            return module.globs.iter().filter_map(from).find(defines);
        }
    }
    Some(room)
}

/// From each module to those that it imports, and is neither within nor around.
fn arrows(all: &Crate) -> BTreeMap<Room, BTreeSet<Room>> {
    let of = |(room, module): (&Room, &Module)| {
        let homes = module.paths.iter().filter_map(|path| home(all, path, 8));
        let others = homes.filter(|other| !other.starts_with(room) && !room.starts_with(other));
        (room.clone(), others.collect())
    };
    all.iter().map(of).collect()
}

#[test]
fn no_arrow_runs_up() {
    let all = modules();
    let level = |room: &Room| {
        FOLDERS
            .iter()
            .position(|folder| Some(*folder) == room.first().map(String::as_str))
    };
    let mut wrong = Vec::new();
    let mut arrows_seen = 0;
    for (room, others) in arrows(&all) {
        let Some(from) = level(&room) else {
            assert!(room.is_empty(), "src/{} stands in no folder of FOLDERS", room.join("/"));
            continue;
        };
        for other in others {
            let to = level(&other).unwrap_or_else(|| panic!("{room:?} imports {other:?}"));
            arrows_seen += 1;
            if to > from {
                wrong.push(format!("{} imports {}", room.join("::"), other.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(arrows_seen > 200, "{arrows_seen} arrows were found");
}

#[test]
fn no_files_import_one_another_in_a_circle() {
    let mut arrows = arrows(&modules());
    // What imports nothing that is left is in no circle.
    loop {
        let free: Vec<_> = arrows
            .iter()
            .filter(|(_, to)| to.is_empty())
            .map(|(room, _)| room.clone())
            .collect();
        if free.is_empty() {
            break;
        }
        arrows.retain(|room, _| !free.contains(room));
        arrows
            .values_mut()
            .for_each(|to| to.retain(|room| !free.contains(room)));
    }
    // Nor what nothing imports that is left.
    loop {
        let reached: BTreeSet<Room> = arrows.values().flatten().cloned().collect();
        let before = arrows.len();
        arrows.retain(|room, _| reached.contains(room));
        if arrows.len() == before {
            break;
        }
    }
    let list = |(room, to): (&Room, &BTreeSet<Room>)| {
        let to: Vec<_> = to.iter().map(|room| room.join("::")).collect();
        format!("{} -> {}", room.join("::"), to.join(", "))
    };
    assert!(
        arrows.is_empty(),
        "{}",
        arrows.iter().map(list).collect::<Vec<_>>().join("\n")
    );
}
