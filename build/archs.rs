//! The architecture list: `87;90a;120;80-virtual`, `default` or `release`.

/// What a fresh clone builds: Orin, Hopper, and PTX for every other GPU from Ampere on.
const DEFAULT: &str = "87;90a;80-virtual";

/// Every GPU from Turing on as machine code, PTX for what comes later.
const RELEASE: &str = "75;80;86;87;89;90a;100;110;120;121;75-virtual;120-virtual";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arch {
    /// `75`, `87`, `120`: major * 10 + minor.
    pub sm: u32,
    /// `a` or `f`, or empty.
    pub suffix: String,
    /// PTX instead of machine code.
    pub ptx: bool,
}

impl Arch {
    /// `90a` or `80-virtual`, as the list has it.
    pub fn name(&self) -> String {
        let kind = if self.ptx { "-virtual" } else { "" };
        format!("{}{}{kind}", self.sm, self.suffix)
    }

    /// `sm_90a` or `compute_80`, as NVRTC's `-arch` wants it.
    pub fn flag(&self) -> String {
        let kind = if self.ptx { "compute" } else { "sm" };
        format!("{kind}_{}{}", self.sm, self.suffix)
    }
}

pub fn parse(list: &str) -> Result<Vec<Arch>, String> {
    let list = match list.trim() {
        "" | "default" => DEFAULT,
        "release" => RELEASE,
        other => other,
    };
    let mut archs = Vec::new();
    for item in list.split([';', ',', ' ']).map(str::trim).filter(|s| !s.is_empty()) {
        let bad = || {
            format!(
                "REFLEX_CUDA_ARCHS: `{item}` is not an architecture; expected a list such as \
                 `87;90a;120;80-virtual`, `default` or `release`"
            )
        };
        let (name, ptx) = match item.split_once('-') {
            None => (item, false),
            Some((name, "virtual")) => (name, true),
            Some((name, "real")) => (name, false),
            Some(_) => return Err(bad()),
        };
        let digits = name.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let suffix = &name[digits.len()..];
        let sm: u32 = digits.parse().map_err(|_| bad())?;
        if !matches!(suffix, "" | "a" | "f") || !(75..1000).contains(&sm) {
            return Err(bad());
        }
        let arch = Arch {
            sm,
            suffix: suffix.to_string(),
            ptx,
        };
        if !archs.contains(&arch) {
            archs.push(arch);
        }
    }
    if archs.is_empty() {
        return Err("REFLEX_CUDA_ARCHS names no architecture".into());
    }
    Ok(archs)
}
