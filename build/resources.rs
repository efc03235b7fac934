//! ptxas's resource report: registers, shared memory and spills of every kernel.

/// What ptxas says about one kernel for one architecture.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Resources {
    pub kernel: String,
    pub registers: u64,
    pub static_shared: u64,
    pub stack: u64,
    pub spill_stores: u64,
    pub spill_loads: u64,
    /// Bytes of machine code: not from ptxas, but from the image.
    pub code: u64,
}

/// All kernels of one compiler log. What a function that is not inlined spills counts for the kernel that stands before it.
pub fn parse(log: &str) -> Vec<Resources> {
    let mut found: Vec<Resources> = Vec::new();
    let mut open = Resources::default();
    let mut function = "";
    for line in log.lines() {
        if let Some(rest) = line.split("Compiling entry function '").nth(1) {
            open = Resources {
                kernel: rest.split('\'').next().unwrap_or("").to_string(),
                ..Resources::default()
            };
        } else if let Some(name) = line.split("Function properties for ").nth(1) {
            function = name.trim();
        } else if line.contains("bytes stack frame") {
            let own = function == open.kernel;
            let Some(of) = (if open.kernel.is_empty() {
                found.last_mut()
            } else {
                Some(&mut open)
            }) else {
                continue;
            };
            if own {
                of.stack = number_before(line, " bytes stack frame");
            }
            of.spill_stores += number_before(line, " bytes spill stores");
            of.spill_loads += number_before(line, " bytes spill loads");
        } else if line.contains("Used ") && line.contains(" registers") && !open.kernel.is_empty() {
            open.registers = number_before(line, " registers");
            open.static_shared = number_before(line, " bytes smem");
            found.push(std::mem::take(&mut open));
        }
    }
    found
}

/// The rows of `kernel-resources.tsv`.
pub fn table<'a>(all: impl IntoIterator<Item = (&'a str, &'a str, &'a [Resources])>) -> String {
    let mut text =
        String::from("arch\tfile\tkernel\tregisters\tstatic_shared\tstack\tspill_stores\tspill_loads\tcode\n");
    for (arch, file, kernels) in all {
        for k in kernels {
            text += &format!(
                "{arch}\t{file}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\n",
                k.kernel, k.registers, k.static_shared, k.stack, k.spill_stores, k.spill_loads, k.code
            );
        }
    }
    text
}

/// What to do about kernels that spill: `REFLEX_KERNEL_SPILLS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// For a compiler that the kernels were not tuned for: they are right with it, a spilling one is slower.
    Warn,
    /// For the compilers that CI pins.
    Fail,
}

impl Gate {
    pub fn parse(value: &str) -> Result<Gate, String> {
        match value {
            "" | "warn" => Ok(Gate::Warn),
            "error" => Ok(Gate::Fail),
            other => Err(format!("REFLEX_KERNEL_SPILLS={other}: expected warn or error")),
        }
    }
}

/// One line for each kernel that spills; with `Gate::Fail` they are an error. `allowed` has the text of `kernels/spills.txt`: a line for
/// each kernel that may, by name, or by name, architecture and release of NVRTC, with the reason behind a `#`.
pub fn judge<'a>(
    all: impl IntoIterator<Item = (&'a str, &'a [Resources])>,
    compiler: &str,
    allowed: &str,
    gate: Gate,
) -> Result<Vec<String>, String> {
    let allowed: Vec<Vec<&str>> = allowed
        .lines()
        .map(|line| line.split('#').next().unwrap().split_whitespace().collect())
        .filter(|words: &Vec<&str>| !words.is_empty())
        .collect();
    let release = compiler.rsplit(' ').next().unwrap_or(compiler);
    let mut lines = Vec::new();
    for (arch, kernels) in all {
        for k in kernels {
            let here = [k.kernel.as_str(), arch, release];
            let listed = allowed.iter().any(|words| words[..] == here[..1] || words[..] == here);
            if k.spill_stores + k.spill_loads > 0 && !listed {
                lines.push(format!(
                    "{} ({arch}, {compiler}) spills registers: {} bytes stored, {} bytes loaded",
                    k.kernel, k.spill_stores, k.spill_loads
                ));
            }
        }
    }
    if gate == Gate::Fail && !lines.is_empty() {
        return Err(format!(
            "REFLEX_KERNEL_SPILLS=error, and these kernels spill (mend one, or list it in kernels/spills.txt with a reason):\n{}",
            lines.join("\n")
        ));
    }
    Ok(lines)
}

fn number_before(line: &str, marker: &str) -> u64 {
    line.split(marker)
        .next()
        .filter(|head| head.len() < line.len())
        .and_then(|head| head.rsplit(|c: char| !c.is_ascii_digit()).next())
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(0)
}
