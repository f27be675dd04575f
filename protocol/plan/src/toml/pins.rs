//! `[[pin]]`: files of known content.

use super::{DeTable, Reader, Spanned, Value};
use crate::fault::shown;
use crate::name::check_path;
use crate::{Fault, PlanError};
use ::toml::de::DeValue;
use std::collections::BTreeMap;

/// The most pins of one plan: each is asked for by name everywhere.
const MAX_PINS: usize = 100_000;

/// A file that must have this content, whoever has another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The line of its path, from 1, for messages.
    pub line: usize,
    /// Its name.
    pub path: String,
    /// The SHA-256 of all its bytes.
    pub sha256: [u8; 32],
}

impl Reader<'_> {
    /// All pins, no name twice.
    pub(super) fn pins(&self, value: &Value<'_>) -> Result<Vec<Pin>, PlanError> {
        let mut pins: Vec<Pin> = Vec::new();
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        for table in self.tables("pin", value)? {
            let (pin, at) = self.pin(&table)?;
            if let Some(first) = lines.insert(pin.path.clone(), pin.line) {
                let found = format!("`{}`", shown(&pin.path));
                let fault = Fault::Twice { what: "pinned path", found, first };
                return Err(self.place.error(at, fault));
            }
            pins.push(pin);
            if pins.len() > MAX_PINS {
                return Err(self.place.error(at, Fault::TooManyPins { most: MAX_PINS }));
            }
        }
        Ok(pins)
    }

    /// One pin and where its path stands.
    fn pin(&self, table: &Spanned<&DeTable<'_>>) -> Result<(Pin, usize), PlanError> {
        let (mut path, mut sha256) = (None, None);
        for (key, value) in table.get_ref().iter() {
            match key.get_ref().as_ref() {
                "path" => path = Some((self.pinned_path(value)?, value.span().start)),
                "sha256" => sha256 = Some(self.sha256(value)?),
                _ => return Err(self.unknown(key, "`path` or `sha256` in [[pin]]")),
            }
        }
        let missing = |key, advice| {
            let fault = Fault::Missing { table: "[[pin]]", key, advice };
            self.place.error(table.span().start, fault)
        };
        let (path, at) = path.ok_or_else(|| missing("path", "path = \"model/weights.bin\""))?;
        let sha256 = sha256.ok_or_else(|| missing("sha256", "what `sha256sum` prints"))?;
        Ok((Pin { line: self.place.line(at), path, sha256 }, at))
    }

    fn pinned_path(&self, value: &Value<'_>) -> Result<String, PlanError> {
        let advice = "write one like path = \"model/weights.bin\"";
        let path = self.string("path", value, advice)?;
        check_path(path)
            .map_err(|why| self.bad("path", value, "the name of a file", path, &why, advice))?;
        Ok(path.to_owned())
    }

    fn sha256(&self, value: &Value<'_>) -> Result<[u8; 32], PlanError> {
        let advice = "write what `sha256sum` prints";
        let DeValue::String(text) = value.get_ref() else {
            return Err(self.wrong_type("sha256", value, "a string", advice));
        };
        let hash = of_hex(text);
        hash.ok_or_else(|| self.bad("sha256", value, "64 hexadecimal digits", text, "", advice))
    }
}

fn of_hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(hash)
}
