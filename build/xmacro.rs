//! The rows of X macros, as `kernels/*.def` have them.

/// The arguments of each `X(...)` of the macro `name`.
pub fn rows(file: &str, text: &str, name: &str) -> Result<Vec<Vec<String>>, String> {
    let start = format!("#define {name}(X)");
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&start)).peekable();
    if lines.peek().is_none() {
        return Err(format!("{file} does not define {name}(X)"));
    }
    let mut rows = Vec::new();
    for line in lines {
        let (body, more) = match line.trim_end().strip_suffix('\\') {
            Some(body) => (body, true),
            None => (line, false),
        };
        let row = body.trim();
        if let Some(arguments) = row.strip_prefix("X(").and_then(|row| row.strip_suffix(')')) {
            rows.push(split(arguments));
        } else if !(row.starts_with(&start) || row.starts_with("/*") && row.ends_with("*/")) {
            return Err(format!("{file}: expected X(...), read `{row}`"));
        }
        if !more {
            break;
        }
    }
    Ok(rows)
}

/// At the commas that stand in no parentheses.
fn split(arguments: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in arguments.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => (),
        }
        parts.last_mut().unwrap().push(c);
    }
    parts.iter().map(|part| part.trim().to_string()).collect()
}
