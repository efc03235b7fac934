//! MiniJinja set up as `transformers` sets up Python's Jinja for chat templates.

use crate::python_json;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

/// One turn of a conversation.
#[derive(Serialize)]
pub struct Message {
    pub role: String,
    pub content: String,
}

const NAME: &str = "chat_template";

/// A template comes from a file that nobody vouches for: what it may compute is bounded. The templates of published
/// models take some hundred units for a turn.
const FUEL: u64 = 10_000_000;
const RECURSION: usize = 200;

pub fn with_template(source: String) -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_formatter(|out, state, value| match value.kind() {
        // As Python's str() has it.
        ValueKind::Bool => out
            .write_str(if value.is_true() { "True" } else { "False" })
            .map_err(Error::from),
        ValueKind::None => out.write_str("None").map_err(Error::from),
        _ => minijinja::escape_formatter(out, state, value),
    });
    environment.add_filter("tojson", to_json);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, message))
    });
    environment.add_function("strftime_now", |format: String| -> Result<String, Error> {
        jiff::fmt::strtime::format(&format, &jiff::ZonedDateTime::now())
            .map_err(|e| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {e}")))
    });
    environment.add_template_owned(NAME, source)?;
    Ok(environment)
}

pub fn render(
    environment: &Environment,
    messages: &[Message],
    bos: &str,
    eos: &str,
    add_generation_prompt: bool,
) -> Result<String, Error> {
    environment.get_template(NAME)?.render(context! {
        messages => Serde(messages),
        bos_token => bos,
        eos_token => eos,
        add_generation_prompt => add_generation_prompt,
        // What `transformers` passes where a caller has none.
        tools => (),
        documents => (),
    })
}

/// `tojson(indent=None)` without HTML escapes.
fn to_json(value: &Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent = kwargs.get::<Option<usize>>("indent")?;
    kwargs.assert_all_used()?;
    python_json::dumps(value, indent).map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))
}

/// One line with the template's line.
pub fn describe(error: &Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let text = match error.line() {
        Some(line) => format!("{detail} (line {line} of the template)"),
        None => detail,
    };
    text.replace(['\n', '\r'], " ")
}
