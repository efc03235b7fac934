//! Numbers that host and kernels share: the Rust constants of `kernels/constants.def`.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;

pub const FILE: &str = "kernels/constants.def";

/// The lines of `constants.rs`.
pub fn rust(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut comment = String::new();
    let mut names: Vec<&str> = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        let wrong = |what: &str| format!("{FILE}: `{line}`: {what}");
        if let Some(words) = line.strip_prefix("//") {
            writeln!(comment, "///{words}").unwrap();
            continue;
        }
        if line.is_empty() {
            comment.clear();
            continue;
        }
        if line == "#pragma once" || line == "namespace reflex {" || line.starts_with("}  // namespace") {
            continue;
        }
        out.push_str(&std::mem::take(&mut comment));
        let name = if let Some(function) = line.strip_prefix("__host__ __device__ constexpr i32 ") {
            let (name, rest) = function
                .split_once('(')
                .ok_or_else(|| wrong("expected name(arguments)"))?;
            let (arguments, rest) = rest.split_once(')').ok_or_else(|| wrong("expected name(arguments)"))?;
            let arguments: Vec<&str> = arguments
                .split(',')
                .map(|argument| argument.trim().strip_prefix("i32 "))
                .collect::<Option<_>>()
                .ok_or_else(|| wrong("expected i32 arguments"))?;
            let value = rest
                .trim()
                .strip_prefix("{ return ")
                .and_then(|rest| rest.strip_suffix("; }"))
                .ok_or_else(|| wrong("expected { return EXPRESSION; }"))?;
            let known: Vec<&str> = names.iter().chain(&arguments).copied().collect();
            check(value, &known).map_err(|what| wrong(&what))?;
            let arguments: Vec<String> = arguments.iter().map(|a| format!("{a}: i64")).collect();
            writeln!(
                out,
                "pub(crate) const fn {name}({}) -> i64 {{\n    {value}\n}}",
                arguments.join(", ")
            )
            .unwrap();
            name
        } else {
            let (_, rest) = line
                .split_once("constexpr i32 ")
                .or_else(|| line.split_once("constexpr u32 "))
                .filter(|(before, _)| before.is_empty())
                .ok_or_else(|| wrong("expected a constant or a function"))?;
            let (name, value) = rest
                .strip_suffix(';')
                .and_then(|rest| rest.split_once(" = "))
                .ok_or_else(|| wrong("expected NAME = EXPRESSION;"))?;
            match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
                Some((name, count)) => {
                    let values = value
                        .strip_prefix('{')
                        .and_then(|value| value.strip_suffix('}'))
                        .ok_or_else(|| wrong("expected {EXPRESSION, EXPRESSION}"))?;
                    check(values, &names).map_err(|what| wrong(&what))?;
                    writeln!(out, "pub(crate) const {name}: [i64; {count}] = [{values}];").unwrap();
                    name
                }
                None => {
                    check(value, &names).map_err(|what| wrong(&what))?;
                    writeln!(out, "pub(crate) const {name}: i64 = {value};").unwrap();
                    name
                }
            }
        };
        if names.contains(&name) || name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(wrong("expected a name that no line above has"));
        }
        names.push(name);
    }
    Ok(out)
}

/// An expression that is the same in C++ and in Rust, of names from above.
fn check(expression: &str, names: &[&str]) -> Result<(), String> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let foreign = |c: char| !is_of_word(c) && !" +-*/%<&|(),".contains(c);
    if let Some(c) = expression.chars().find(|&c| foreign(c)) {
        return Err(format!(
            "`{c}` does not mean the same in C++ and Rust, or is not needed"
        ));
    }
    if expression.replace("<<", "").contains('<') {
        return Err("a comparison is no number".into());
    }
    let words = expression.split(|c| !is_of_word(c)).filter(|word| !word.is_empty());
    for word in words {
        let number = word.chars().all(|c| c.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
        if !number && !names.contains(&word) {
            return Err(format!("`{word}` is neither a decimal number nor a name from above"));
        }
    }
    Ok(())
}

/// The lines whose names the other texts of a kernel mention, or lines that do: what its image depends on.
pub fn used(text: &str, others: &[&str]) -> String {
    let words = |text: &'_ str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter(|word| !word.is_empty()).map(str::to_string).collect()
    };
    let mut mentioned: HashSet<String> = others.iter().flat_map(|text| words(text)).collect();
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().rev().filter(|line| line.contains("constexpr")) {
        let (_, definition) = line
            .split_once(" i32 ")
            .or_else(|| line.split_once(" u32 "))
            .unwrap_or(("", line));
        let definition = words(definition);
        if definition.first().is_none_or(|name| mentioned.contains(name)) {
            mentioned.extend(definition);
            lines.push(line);
        }
    }
    lines.reverse();
    lines.join("\n")
}

/// Writes `constants.rs` into `out_dir`.
pub fn write(root: &Path, out_dir: &Path) -> Result<(), String> {
    let path = root.join(FILE);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let to = out_dir.join("constants.rs");
    std::fs::write(&to, rust(&text)?).map_err(|e| format!("{}: {e}", to.display()))
}
