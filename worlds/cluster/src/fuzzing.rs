//! Checks of this crate's readers for fuzzing and for replaying corpora.

use crate::fault::{Fault, FaultError};

/// Whatever the bytes, a trace is shown or refused, and a shown one names no more lines than it
/// has.
///
/// # Panics
/// If a property does not hold.
pub fn trace(data: &[u8]) {
    let mut shown = Vec::new();
    if crate::chart::chart(data, &mut shown).is_ok() {
        let text = String::from_utf8(shown).expect("a chart is text");
        let lines = data.split(|byte| *byte == b'\n').count();
        assert!(text.lines().count() <= lines + 1, "{lines} lines became {text}");
    }
}

/// Whatever the text, it is a fault or an error that says what was found.
///
/// # Panics
/// If a property does not hold.
pub fn fault(text: &str) {
    match text.parse::<Fault>() {
        Ok(fault) => assert!(fault.rank().0 > 0),
        Err(FaultError::Unknown(found)) => assert_eq!(found, text),
        Err(error) => assert!(error.to_string().contains(text)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_trace_or_not(data: Vec<u8>) {
            super::trace(&data);
        }

        #[test]
        fn lines_of_any_numbers(
            lines in proptest::collection::vec((any::<u64>(), any::<u64>(), ".{0,40}"), 0..20)
        ) {
            let mut text = String::new();
            for (from, to, msg) in lines {
                let line = serde_json::json!({ "t": 1.5, "from": from, "to": to, "msg": msg });
                text.push_str(&format!("{line}\n"));
            }
            super::trace(text.as_bytes());
        }

        #[test]
        fn any_text_is_a_fault_or_not(text in "(corrupt|die|refuse|slow|mute|x)?=?.{0,12}") {
            super::fault(&text);
        }
    }
}
