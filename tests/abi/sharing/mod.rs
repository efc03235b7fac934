//! Memory that operands share: of every op, every output against every other operand, itself and the workspace.

use crate::support::*;
use reflex_infer::*;
use std::ffi::c_void;

const F32: reflex_dtype = REFLEX_DTYPE_F32;
const I32: reflex_dtype = REFLEX_DTYPE_I32;
const ACT_I8: reflex_dtype = REFLEX_DTYPE_ACT_I8;
const Q4_K: reflex_dtype = REFLEX_DTYPE_Q4_K;

/// Outputs that have no other type.
const F32_ALONE: [(&str, &str); 1] = [("attention_merge", "y_lse")];

/// An operand of an op.
struct Field<P> {
    name: &'static str,
    of: fn(&mut P) -> &mut reflex_tensor,
    written: bool,
    /// Inputs that it may be itself.
    in_place: &'static [&'static str],
}

macro_rules! reads {
    ($p:ident: $params:ty; $($name:literal: $field:expr),* $(,)?) => {
        vec![$(Field { name: $name, of: |$p: &mut $params| &mut $field, written: false, in_place: &[] }),*]
    };
}

impl<P> Field<P> {
    fn output(name: &'static str, of: fn(&mut P) -> &mut reflex_tensor, in_place: &'static [&'static str]) -> Field<P> {
        Field {
            name,
            of,
            written: true,
            in_place,
        }
    }
}

type Call<P> = extern "C" fn(*const reflex_context, *const P, reflex_stream) -> reflex_status;
type Supported<P> = extern "C" fn(*const reflex_context, *const P) -> reflex_status;

/// The fields of a workspace.
type Workspace<P> = fn(&mut P) -> (&mut *mut c_void, &mut usize);

/// An op, its operands, and a call with all of them apart: of so many rows.
struct Op<P> {
    name: &'static str,
    call: Call<P>,
    supported: Supported<P>,
    fields: Vec<Field<P>>,
    make: fn(&mut Places, i64) -> P,
    workspace: Option<Workspace<P>>,
}

/// Memory for operands, each in a place of its own.
struct Places {
    memory: *mut c_void,
    next: usize,
}

const PLACE: usize = 1 << 14;

impl Places {
    fn at(&mut self, dtype: reflex_dtype, shape: &[i64]) -> reflex_tensor {
        self.next += 1;
        let mut tensor = reflex_tensor {
            data: self.memory.wrapping_byte_add((self.next - 1) * PLACE),
            dtype,
            rank: shape.len() as u32,
            shape: [0; 4],
            stride: [0; 4],
        };
        tensor.shape[..shape.len()].copy_from_slice(shape);
        let mut step = i64::from(reflex_dtype_block_bytes(dtype));
        for i in (0..shape.len()).rev() {
            tensor.stride[i] = step;
            let last = i + 1 == shape.len();
            step *= shape[i]
                / if last {
                    i64::from(reflex_dtype_block_elements(dtype))
                } else {
                    1
                };
        }
        tensor
    }

    fn f32(&mut self, shape: &[i64]) -> reflex_tensor {
        self.at(F32, shape)
    }

    fn i32(&mut self, count: i64) -> reflex_tensor {
        self.at(I32, &[count])
    }
}

impl<P: Copy> Op<P> {
    fn check(&self, env: &Env) {
        let memory = env.malloc(24 * PLACE);
        let make = |rows| (self.make)(&mut Places { memory, next: 0 }, rows);
        self.taken(env, &make(8), "apart");
        for output in self.fields.iter().filter(|f| f.written) {
            for other in self.fields.iter().filter(|f| f.name != output.name) {
                self.against(env, &make(8), output, other);
            }
            self.against_itself(env, &make(8), output);
        }
        for field in &self.fields {
            self.against_workspace(env, &make(8), field);
            // Nothing is no overlap, whatever its strides.
            for strides in [[7, 3, 1, 5], [-4, -4, -4, -4], [i64::MAX; 4], [0, 0, 0, 4]] {
                let mut p = make(0);
                let tensor = (field.of)(&mut p);
                if tensor.shape[..tensor.rank as usize].contains(&0) {
                    tensor.stride = strides;
                    self.taken(env, &p, &format!("empty {} with strides {strides:?}", field.name));
                }
            }
        }
        ok(reflex_device_free(env.context, memory));
    }

    #[track_caller]
    fn taken(&self, env: &Env, p: &P, what: &str) {
        for status in [
            (self.supported)(env.context, p),
            (self.call)(env.context, p, env.stream),
        ] {
            assert_eq!(
                status_name(status),
                "REFLEX_SUCCESS",
                "{}, {what}: {}",
                self.name,
                last_error()
            );
        }
    }

    #[track_caller]
    fn refused(&self, env: &Env, p: &P, what: &str, words: &[&str]) {
        for status in [
            (self.supported)(env.context, p),
            (self.call)(env.context, p, env.stream),
        ] {
            let message = last_error();
            assert_eq!(
                status_name(status),
                "REFLEX_INVALID_ARGUMENT",
                "{}, {what}: {message}",
                self.name
            );
            assert!(message.starts_with(&format!("{}: ", self.name)), "{what}: {message}");
            assert!(
                words.iter().all(|word| message.contains(word)),
                "{what}: `{message}` lacks one of {words:?}"
            );
        }
    }

    fn against(&self, env: &Env, p: &P, output: &Field<P>, other: &Field<P>) {
        let (a, b) = (output.name, other.name);
        let mut p = *p;
        let (mine, theirs) = (*(output.of)(&mut p), *(other.of)(&mut p));
        // Whichever of two outputs the message begins with.
        let words = |p: &P, what: &str| {
            self.refused(
                env,
                p,
                &format!("{a} and {b}, {what}"),
                &["overlaps", a, b, "memory of its own"],
            );
        };
        let with = |tensor: reflex_tensor| {
            let mut p = p;
            *(output.of)(&mut p) = tensor;
            p
        };
        let moved = |tensor: reflex_tensor, bytes: usize| reflex_tensor {
            data: theirs.data.wrapping_byte_add(bytes),
            ..tensor
        };
        words(&with(moved(mine, 16)), "within");
        let alike = (mine.dtype, mine.rank, mine.shape) == (theirs.dtype, theirs.rank, theirs.shape);
        let may = output.in_place.contains(&b);
        if !alike || !may {
            words(&with(moved(mine, 0)), "at the same address");
        }
        if !alike || mine.rank < 2 {
            return;
        }
        if may {
            self.taken(env, &with(theirs), &format!("{a} is {b}"));
            // A stride over one row says nothing: here there are eight.
            let mut wider = theirs;
            wider.stride[0] += 64;
            words(&with(wider), "with other strides");
        }
        words(&with(moved(theirs, theirs.stride[0] as usize)), "a row below");
        // Rows of one between those of the other, and a few bytes into them.
        let row = theirs.stride[0];
        if reflex_dtype_block_elements(theirs.dtype) == 1 {
            let mut apart = p;
            (other.of)(&mut apart).stride[0] = 2 * row;
            let mut between = moved(theirs, row as usize);
            between.stride[0] = 2 * row;
            *(output.of)(&mut apart) = between;
            self.taken(env, &apart, &format!("{a} between the rows of {b}"));
            (output.of)(&mut apart).data = between.data.wrapping_byte_sub(16);
            words(&apart, "16 bytes into the rows between");
        }
        // The same address, and another type of the same size.
        if may && theirs.dtype == F32 && !F32_ALONE.contains(&(self.name, a)) {
            let half = reflex_tensor {
                dtype: REFLEX_DTYPE_F16,
                ..theirs
            };
            let mut narrow = half;
            narrow.stride[mine.rank as usize - 1] = 2;
            words(&with(narrow), "of another type");
        }
    }

    fn against_itself(&self, env: &Env, p: &P, output: &Field<P>) {
        let mut p = *p;
        let tensor = (output.of)(&mut p);
        let row = tensor.stride[0];
        if tensor.rank < 2 || tensor.dtype.0 & REFLEX_DTYPE_PACKED.0 != 0 {
            return;
        }
        let words = ["does not overlap itself", output.name];
        tensor.stride[0] = 0;
        self.refused(env, &p, "one row", &words);
        (output.of)(&mut p).stride[0] = row / 32 * 16;
        self.refused(env, &p, "rows that overlap", &words);
    }

    fn against_workspace(&self, env: &Env, p: &P, field: &Field<P>) {
        let Some(workspace) = self.workspace else { return };
        let mut p = *p;
        let data = (field.of)(&mut p).data;
        (*workspace(&mut p).0, *workspace(&mut p).1) = (data.wrapping_byte_sub(256), 256);
        let status = (self.call)(env.context, &p, env.stream);
        assert_eq!(status_name(status), "REFLEX_SUCCESS", "{}: {}", self.name, last_error());
        *workspace(&mut p).1 = 257;
        // It is not looked at before there is one.
        ok((self.supported)(env.context, &p));
        let status = (self.call)(env.context, &p, env.stream);
        let message = last_error();
        assert_eq!(
            status_name(status),
            "REFLEX_INVALID_ARGUMENT",
            "{} {}",
            self.name,
            field.name
        );
        let begins = format!("{}: workspace 0x", self.name);
        assert!(
            message.starts_with(&begins) && message.contains(&format!("overlaps {}", field.name)),
            "{message}"
        );
    }
}

macro_rules! sized {
    ($params:ident { $($rest:tt)* }) => {
        $params { struct_size: size_of::<$params>() as u32, $($rest)* ..Default::default() }
    };
}

macro_rules! workspace {
    () => {
        Some(|p| (&mut p.workspace, &mut p.workspace_size))
    };
}

fn both<P>(mut reads: Vec<Field<P>>, writes: Vec<Field<P>>) -> Vec<Field<P>> {
    reads.extend(writes);
    reads
}

mod heads;
mod matrices;
mod rows;
mod tokens;
