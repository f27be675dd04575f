//! The lock file: one crypto provider at most, and packages of one registry only.

/// A provider that takes minutes to compile, and panics at run time beside another one.
const UNWANTED: &str = "aws-lc";
/// Providers of cryptography for rustls.
const PROVIDERS: &[&str] = &["ring", "rustls-graviola", "rustls-openssl", "boring"];
/// The name of the public registry in lock files.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks the text of the lock file.
pub(crate) fn check(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut providers = Vec::new();
    let mut rustls = false;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let value = |key: &str| {
            let rest = line.strip_prefix(key)?.strip_prefix(" = \"")?;
            rest.strip_suffix('"')
        };
        if let Some(name) = value("name") {
            if name.starts_with(UNWANTED) {
                found.push(format!("Cargo.lock:{number}: {name}: use rustls without defaults"));
            }
            rustls |= name == "rustls";
            if PROVIDERS.contains(&name) {
                providers.push(name);
            }
        }
        if let Some(source) = value("source").filter(|source| *source != REGISTRY) {
            found.push(format!("Cargo.lock:{number}: from {source}, expected {REGISTRY}"));
        }
    }
    if rustls && providers.len() > 1 {
        let all = providers.join(", ");
        found.push(format!("Cargo.lock:1: several providers for rustls: {all}; keep one"));
    }
    found
}
