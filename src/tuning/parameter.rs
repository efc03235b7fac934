//! What a number of the tables may be, and how it is found by name.

use std::ops::RangeInclusive;

/// A number of a table, or several of one kind.
pub(crate) trait Numbers {
    fn numbers(&mut self) -> &mut [i64];
}

impl Numbers for i64 {
    fn numbers(&mut self) -> &mut [i64] {
        std::slice::from_mut(self)
    }
}

impl<const N: usize> Numbers for [i64; N] {
    fn numbers(&mut self) -> &mut [i64] {
        self
    }
}

/// An entry of the tables.
pub(crate) struct Parameter {
    /// `matmul.warps`. The numbers of an array are `matmul.in_clusters.0` and so on.
    pub name: &'static str,
    pub range: RangeInclusive<i64>,
    /// The numbers of the range that are allowed are multiples of it.
    pub step: i64,
    pub numbers: fn(&mut super::Tuning) -> &mut [i64],
    /// What `reflex-bench tune` tries.
    #[cfg(test)]
    pub tries: &'static [i64],
    /// The options of `reflex-bench ops` for the cases that it can change; empty where values are fitted and not tried.
    #[cfg(test)]
    pub cases: [&'static str; 2],
}

impl Parameter {
    pub fn allows(&self, value: i64) -> bool {
        self.range.contains(&value) && value % self.step == 0
    }

    /// "0 to 12 in steps of 4".
    pub fn allowed(&self) -> String {
        let (least, most) = (self.range.start(), self.range.end());
        match self.step {
            1 => format!("a whole number from {least} to {most}"),
            step => format!("a multiple of {step} from {least} to {most}"),
        }
    }
}

/// The tables' structs, and the list of their entries.
macro_rules! tuning {
    ($(
        $(#[$about:meta])*
        $group:ident: $Group:ident, $op:literal {$(
            $(#[$doc:meta])*
            $field:ident: $type:ty, $least:literal..=$most:literal by $step:literal, try [$($try:literal),*],
            with $cases:literal;
        )*}
    )*) => {
        $(
            $(#[$about])*
            #[derive(Clone, Copy, Debug, PartialEq)]
            pub(crate) struct $Group {
                $($(#[$doc])* pub $field: $type,)*
            }
        )*

        /// One table.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub(crate) struct Tuning {
            $($(#[$about])* pub $group: $Group,)*
        }

        static PARAMETERS: &[Parameter] = &[$($(
            Parameter {
                name: concat!(stringify!($group), ".", stringify!($field)),
                range: $least..=$most,
                step: $step,
                numbers: |tuning| parameter::Numbers::numbers(&mut tuning.$group.$field),
                #[cfg(test)]
                tries: &[$($try),*],
                #[cfg(test)]
                cases: [$op, $cases],
            },
        )*)*];
    };
}
pub(super) use tuning;
