//! Kernels that differ in a few numbers: what `kernels/instances.def` makes of them.

use crate::formats::Group;
use crate::xmacro;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

const FILE: &str = "kernels/instances.def";

/// One kernel.
#[derive(Debug)]
pub struct Instance {
    pub family: String,
    /// Stem of its file.
    pub file: String,
    pub kernel: String,
    /// What `src/` knows of a candidate's calls; empty where the family is a table.
    calls: String,
    header: String,
    args: String,
    bounds: String,
    body: String,
}

/// The kernels of each row, in their order.
pub fn parse(text: &str, groups: &[Group]) -> Result<Vec<Instance>, String> {
    let mut all: Vec<Instance> = Vec::new();
    for row in xmacro::rows(FILE, text, "REFLEX_INSTANCES")? {
        let wrong = |what: &str| format!("{FILE}: X({}): {what}", row.join(", "));
        let [family, file, kernel, values, calls, header, args, bounds, body @ ..] = row.as_slice() else {
            return Err(wrong("expected 9 columns"));
        };
        if body.is_empty() {
            return Err(wrong("expected 9 columns"));
        }
        // Commas between a template's arguments have split it.
        let body = body.join(", ");
        if [file, kernel].iter().any(|name| !name.chars().all(is_of_name)) || !kernel.starts_with("reflex_") {
            return Err(wrong(
                "file and kernel are names in small letters, the kernel's begins with reflex_",
            ));
        }
        if (values == "-") == kernel.contains("{}") {
            return Err(wrong("the kernel's name has {} where there are values"));
        }
        let calls = if calls == "-" { "" } else { calls.as_str() };
        if !calls.is_empty() && !kernel.starts_with(&prefix(family)) {
            return Err(wrong(&format!("a candidate's kernel begins with {}", prefix(family))));
        }
        if all
            .iter()
            .any(|other| other.family == *family && other.calls.is_empty() != calls.is_empty())
        {
            return Err(wrong("a family's kernels are all candidates, or none is"));
        }
        for (value, formats) in self::values(values, groups) {
            let put = |text: &str| text.replace("{}", &value).replace("{formats}", &formats);
            let instance = Instance {
                family: family.clone(),
                file: put(file),
                kernel: put(kernel),
                calls: put(calls),
                header: header.trim_matches('"').to_string(),
                args: args.clone(),
                bounds: put(bounds),
                body: put(&body),
            };
            if all.iter().any(|other| other.kernel == instance.kernel) {
                return Err(wrong(&format!("a row above has {}", instance.kernel)));
            }
            if [&instance.calls, &instance.bounds, &instance.body]
                .iter()
                .any(|text| text.contains(['{', '}']))
            {
                return Err(wrong("a brace that stands for nothing"));
            }
            all.push(instance);
        }
    }
    Ok(all)
}

/// How the kernels of a family of candidates begin; what follows is the candidate's name.
fn prefix(family: &str) -> String {
    format!("reflex_{}_", family.to_lowercase())
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || "_{}".contains(c)
}

/// What stands for {} and {formats}.
fn values(values: &str, groups: &[Group]) -> Vec<(String, String)> {
    match values {
        "REFLEX_INT8_GROUPS" => groups
            .iter()
            .map(|g| (g.kernel.clone(), g.formats.join(", ")))
            .collect(),
        _ => values
            .split('|')
            .map(|v| (v.trim().to_string(), String::new()))
            .collect(),
    }
}

/// Names and texts of the kernel files.
pub fn kernel_files(all: &[Instance]) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, Vec<&Instance>> = BTreeMap::new();
    for instance in all {
        files.entry(format!("{}.cu", instance.file)).or_default().push(instance);
    }
    files.into_iter().map(|(name, of)| (name, kernel_file(&of))).collect()
}

fn kernel_file(of: &[&Instance]) -> String {
    let mut headers: Vec<&str> = of.iter().map(|i| i.header.as_str()).collect();
    headers.dedup();
    let mut text: String = headers.iter().map(|h| format!("#include \"{h}\"\n")).collect();
    text.push_str("\nusing namespace reflex;\n");
    for i in of {
        write!(
            text,
            "\nextern \"C\" __global__ void {}\n    {}(const __grid_constant__ {} a) {{\n    {};\n}}\n",
            i.bounds, i.kernel, i.args, i.body
        )
        .unwrap();
    }
    text
}

/// A table of each family, or, where its kernels are candidates, a macro that hands them to another one, as X macros of C do.
pub fn rust(all: &[Instance]) -> String {
    let mut text = String::new();
    let mut families: Vec<&str> = Vec::new();
    for instance in all {
        if !families.contains(&instance.family.as_str()) {
            families.push(&instance.family);
        }
    }
    for family in families {
        let of: Vec<&Instance> = all.iter().filter(|i| i.family == family).collect();
        if !of[0].calls.is_empty() {
            text.push_str(&rust_macro(family, &of));
            continue;
        }
        writeln!(text, "pub(crate) const {family}: [Instance; {}] = [", of.len()).unwrap();
        for i in of {
            writeln!(text, "    Instance {{ file: {:?}, symbol: c{:?} }},", i.file, i.kernel).unwrap();
        }
        text.push_str("];\n\n");
    }
    text
}

fn rust_macro(family: &str, of: &[&Instance]) -> String {
    let name = format!("{}_kernels", family.to_lowercase());
    let mut text = format!(
        "/// Calls a macro with a row for each kernel: the candidate's name, the kernel's file and symbol, the rows of a block, the calls it takes.\n\
         macro_rules! {name} {{\n    ($then:ident) => {{\n        $then! {{\n"
    );
    for i in of {
        let candidate = &i.kernel[prefix(family).len()..];
        writeln!(
            text,
            "            {{ {candidate:?} {:?} c{:?} {} }}",
            i.file, i.kernel, i.calls
        )
        .unwrap();
    }
    write!(text, "        }}\n    }};\n}}\npub(crate) use {name};\n\n").unwrap();
    text
}

/// Writes `instances.rs` and `kernels/*.cu` into `out_dir`.
pub fn write(root: &Path, out_dir: &Path, groups: &[Group]) -> Result<(), String> {
    let path = root.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let all = parse(&text, groups)?;
    let save = |path: &Path, text: &str| std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()));
    save(&out_dir.join("instances.rs"), &rust(&all))?;
    kernel_files(&all)
        .iter()
        .try_for_each(|(name, text)| save(&out_dir.join("kernels").join(name), text))
}
