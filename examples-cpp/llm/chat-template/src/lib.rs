//! Renders the chat template of a GGUF file (`tokenizer.chat_template`), a Jinja template, with MiniJinja, behind C functions.
//!
//! Templates are written for Python's Jinja as `transformers` sets it up: blocks trimmed, `break` and `continue`, methods of
//! Python's strings, lists and dicts, `raise_exception`, `strftime_now`, `tojson` as `json.dumps` writes it.

#![allow(non_camel_case_types)] // C names

mod environment;
mod python_json;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// A piece of the caller's memory; `data` may be null where `length` is 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct llm_chat_slice {
    data: *const u8,
    length: usize,
}

#[repr(C)]
pub struct llm_chat_message {
    role: llm_chat_slice,
    content: llm_chat_slice,
}

/// Text that this library owns until `llm_chat_text_free`.
#[repr(C)]
pub struct llm_chat_text {
    data: *mut u8,
    length: usize,
}

pub struct llm_chat_template {
    environment: minijinja::Environment<'static>,
    bos: String,
    eos: String,
}

impl llm_chat_slice {
    /// # Safety
    /// `data` has `length` readable bytes.
    unsafe fn text(&self, what: &str) -> Result<String, String> {
        let bytes = match self.length {
            0 => &[][..],
            // SAFETY: the caller's promise.
            length => unsafe { std::slice::from_raw_parts(self.data, length) },
        };
        let text =
            std::str::from_utf8(bytes).map_err(|e| format!("{what} is not UTF-8 from byte {} on", e.valid_up_to()))?;
        Ok(text.to_owned())
    }
}

/// Hands a result's text to the caller: true with the text, false with the message. A panic becomes a message.
fn hand_out(out: *mut llm_chat_text, work: impl FnOnce() -> Result<String, String>) -> bool {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("the template engine failed".into()));
    let done = result.is_ok();
    let bytes = result.unwrap_or_else(|message| message).into_bytes().into_boxed_slice();
    let length = bytes.len();
    let data = Box::into_raw(bytes).cast();
    // SAFETY: every exported function asks for a valid `out`.
    unsafe { out.write(llm_chat_text { data, length }) };
    done
}

/// Null, with the reason in `error`, for a template that Jinja cannot parse.
///
/// # Safety
/// The slices and `error` are valid; `error` is to be freed with `llm_chat_text_free` where this returns null, and not otherwise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llm_chat_template_new(
    source: llm_chat_slice,
    bos: llm_chat_slice,
    eos: llm_chat_slice,
    error: *mut llm_chat_text,
) -> *mut llm_chat_template {
    let mut made = std::ptr::null_mut();
    let mut message = llm_chat_text {
        data: std::ptr::null_mut(),
        length: 0,
    };
    let done = hand_out(&mut message, || {
        // SAFETY: the caller's promise.
        let (source, bos, eos) = unsafe {
            (
                source.text("the template")?,
                bos.text("the BOS token")?,
                eos.text("the EOS token")?,
            )
        };
        let environment = environment::with_template(source).map_err(|e| environment::describe(&e))?;
        made = Box::into_raw(Box::new(llm_chat_template { environment, bos, eos }));
        Ok(String::new())
    });
    match done {
        // SAFETY: it was written by hand_out just now.
        true => unsafe { llm_chat_text_free(message) },
        // SAFETY: the caller's promise.
        false => unsafe { error.write(message) },
    }
    made
}

/// True with the rendered text in `out`, false with the reason there.
///
/// # Safety
/// `template` comes from `llm_chat_template_new`, `messages` has `count` elements, `out` is valid and to be freed either way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llm_chat_template_render(
    template: *const llm_chat_template,
    messages: *const llm_chat_message,
    count: usize,
    add_generation_prompt: bool,
    out: *mut llm_chat_text,
) -> bool {
    hand_out(out, || {
        // SAFETY: the caller's promise.
        let (template, messages) = unsafe {
            let messages = if count == 0 {
                &[]
            } else {
                std::slice::from_raw_parts(messages, count)
            };
            (&*template, messages)
        };
        let messages = messages
            .iter()
            .map(|m| {
                // SAFETY: the caller's promise.
                let (role, content) = unsafe { (m.role.text("a role")?, m.content.text("a message")?) };
                Ok(environment::Message { role, content })
            })
            .collect::<Result<Vec<_>, String>>()?;
        environment::render(
            &template.environment,
            &messages,
            &template.bos,
            &template.eos,
            add_generation_prompt,
        )
        .map_err(|e| environment::describe(&e))
    })
}

/// # Safety
/// `template` comes from `llm_chat_template_new` and is not used again; null is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llm_chat_template_free(template: *mut llm_chat_template) {
    if !template.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(template) });
    }
}

/// # Safety
/// `text` comes from this library and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn llm_chat_text_free(text: llm_chat_text) {
    if !text.data.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(text.data, text.length)) });
    }
}
