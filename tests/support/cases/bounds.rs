//! Error bounds of kernels, at the end of the lists of `cases/`. They belong to what was selected; no test works out for itself which kernel that is.

use super::super::parity::Tolerance;
use super::texts;
use reflex_infer::*;
use std::sync::OnceLock;

/// What a problem's errors are measured by: (absolute * sums + beside) * scale, at least `at_least`, and `relative` times the relative bound.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Of its sums.
    pub sums: f32,
    /// What its operands are off by before anything is multiplied with them.
    pub beside: f32,
    /// What its sums are multiplied with afterwards.
    pub scale: f32,
    /// What its operands lose on their way, whatever the kernel.
    pub at_least: f32,
    pub relative: f32,
    /// The type that results are rounded to.
    pub rounded_to: reflex_dtype,
}

impl Size {
    pub fn new(rounded_to: reflex_dtype) -> Size {
        Size {
            sums: 1.0,
            beside: 0.0,
            scale: 1.0,
            at_least: 0.0,
            relative: 1.0,
            rounded_to,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Bound {
    pattern: &'static str,
    tolerance: Tolerance,
}

fn number(word: Option<&str>, line: &str) -> f32 {
    let value = word.and_then(|word| word.parse().ok());
    value.unwrap_or_else(|| panic!("cases: `{line}`: expected a kernel with two numbers or `exact`"))
}

/// Of all lists.
fn bounds() -> &'static [Bound] {
    static BOUNDS: OnceLock<Vec<Bound>> = OnceLock::new();
    BOUNDS.get_or_init(|| read_bounds().collect())
}

fn read_bounds() -> impl Iterator<Item = Bound> {
    let of_list = |text: &'static str| text.split_once("\n[bounds]\n").map_or("", |(_, bounds)| bounds);
    let code = texts()
        .flat_map(move |text| of_list(text).lines())
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    code.filter(|line| !line.is_empty()).map(|line| {
        let mut words = line.split_whitespace();
        let pattern = words.next().unwrap_or_default();
        let rest: Vec<&str> = words.collect();
        let tolerance = match rest[..] {
            ["exact"] => Tolerance::EXACT,
            [absolute, relative] => Tolerance::new(number(Some(absolute), line), number(Some(relative), line)),
            _ => Tolerance::new(number(None, line), 0.0),
        };
        Bound { pattern, tolerance }
    })
}

/// Whether a name has a pattern's parts, with anything where it has a `*`.
pub fn has_pattern(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            let ends = (0..=name.len()).filter(|&at| name.is_char_boundary(at));
            ends.into_iter().any(|at| has_pattern(&name[at..], rest))
        }),
    }
}

/// The bound of a kernel for a problem of this size.
pub fn tolerance_of(kernel: &str, size: Size) -> Tolerance {
    let name = kernel.split('@').next().unwrap_or(kernel);
    if ["none", "cpu"].contains(&name) {
        return Tolerance::EXACT;
    }
    let found = bounds().iter().find(|bound| has_pattern(kernel, bound.pattern));
    let bound = found.unwrap_or_else(|| panic!("no list of cases/ has a bound for {kernel}"));
    if bound.tolerance == Tolerance::EXACT {
        return Tolerance::EXACT;
    }
    let step = match size.rounded_to {
        REFLEX_DTYPE_F16 => 1.0 / 1024.0,
        REFLEX_DTYPE_BF16 => 1.0 / 128.0,
        _ => 0.0,
    };
    let absolute = (bound.tolerance.absolute * size.sums + size.beside) * size.scale;
    Tolerance::new(
        absolute.max(size.at_least),
        size.relative * bound.tolerance.relative.max(step),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_anything() {
        for (name, pattern, want) in [
            ("reflex_add_vec8", "reflex_add_*", true),
            ("reflex_add_vec8", "reflex_add_", false),
            ("reflex_add_vec8", "*_vec8", true),
            ("reflex_a_mma_64", "reflex_*_mma_*", true),
            ("reflex_a_mma_64", "reflex_*_fma_*", false),
            ("none", "none", true),
        ] {
            assert_eq!(has_pattern(name, pattern), want, "{name} {pattern}");
        }
    }

    #[test]
    fn a_bound_is_the_kernels_and_its_size_the_problems() {
        let f32 = Size::new(REFLEX_DTYPE_F32);
        assert_eq!(tolerance_of("reflex_norm_warp", f32), Tolerance::new(1e-6, 1e-5));
        let f16 = Size {
            sums: 3.0,
            ..Size::new(REFLEX_DTYPE_F16)
        };
        assert_eq!(
            tolerance_of("reflex_norm_warp", f16),
            Tolerance::new(3.0 * 1e-6, 1.0 / 1024.0)
        );
        assert_eq!(tolerance_of("reflex_add_vec8", f16), Tolerance::EXACT);
        assert!(std::panic::catch_unwind(|| tolerance_of("reflex_unknown", f32)).is_err());
    }

    /// A line that an earlier one hides would say something that nothing is held to.
    #[test]
    fn every_line_holds_for_something() {
        let all = bounds();
        for (i, bound) in all.iter().enumerate() {
            let hidden = all[..i]
                .iter()
                .find(|earlier| has_pattern(&bound.pattern.replace('*', "x"), earlier.pattern));
            assert_eq!(hidden, None, "hides {}", bound.pattern);
        }
    }
}
