//! The ops and what tests ask of each: functions and candidates.

use super::op::Op;

/// An op as tests see it.
#[doc(hidden)]
pub struct OpEntry {
    pub name: &'static str,
    /// File name in `kernels/`, `src/ops/`, `src/cpu/`, `cases/` and `tests/`.
    pub module: &'static str,
    /// The names of its functions in C.
    pub functions: &'static [&'static str],
    pub candidates: fn() -> Vec<&'static str>,
}

macro_rules! entries {
    ($($module:ident {
        $($op:ident($type:ident, $params:ident): $($function:ident),+;)+
    })+) => {
        [$($(OpEntry {
            name: stringify!($op),
            module: stringify!($module),
            functions: &[$(stringify!($function)),+],
            candidates: || super::$module::$type::candidates().iter().map(|c| c.name).collect(),
        }),+),+]
    };
}

/// All ops.
#[doc(hidden)]
pub static OPS: &[OpEntry] = &for_each_op!(entries);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_have_names_of_their_own_and_the_last_takes_what_the_others_do_not() {
        for op in OPS {
            let mut names = (op.candidates)();
            assert!(!names.is_empty(), "{}", op.name);
            let count = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), count, "{}: {names:?}", op.name);
        }
    }

    #[test]
    fn names_are_those_that_the_ops_have() {
        macro_rules! names {
            ($($module:ident { $($op:ident($type:ident, $params:ident): $($function:ident),+;)+ })+) => {
                $($(
                    assert_eq!(super::super::$module::$type::NAME, stringify!($op));
                    assert_eq!(stringify!($params), concat!("reflex_", stringify!($op), "_params"));
                )+)+
            };
        }
        for_each_op!(names);
        assert!(OPS.is_sorted_by_key(|op| op.name));
    }
}
