//! The documents of `--json`. Schema 1: fields may be added, none changes its meaning.

use crate::exit::Exit;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The version of the document's schema.
pub(crate) const SCHEMA: u32 = 1;

/// The document of a run that never began, or was refused.
pub(crate) fn failure(exit: Exit, message: &str) -> Value {
    report(BTreeMap::<String, Value>::new(), exit, message)
}

/// The document of a run: the world's report, with an `error` if it is not ok and has none.
/// `message` is what went wrong, for people.
pub(crate) fn report(report: impl Serialize, exit: Exit, message: &str) -> Value {
    // Fields of types and keys of maps are texts, so that it is always an object.
    let mut report = serde_json::to_value(report).unwrap_or_default();
    if let Some(fields) = report.as_object_mut() {
        fields.insert("schema".to_owned(), SCHEMA.into());
        fields.insert("ok".to_owned(), (exit == Exit::Ok).into());
        if exit == Exit::Ok {
            fields.remove("error");
        } else {
            fields.insert("error".to_owned(), error(exit, message));
        }
    }
    report
}

fn error(exit: Exit, message: &str) -> Value {
    let message = match exit {
        Exit::Interrupted if message.is_empty() => "interrupted; the same command goes on",
        _ => message,
    };
    json!({ "kind": exit.kind(), "message": message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_a_whole_document() {
        let document = failure(Exit::Input, "in2.txt:7: …");
        assert_eq!(
            document.to_string(),
            r#"{"error":{"kind":"input","message":"in2.txt:7: …"},"ok":false,"schema":1}"#
        );
    }

    #[test]
    fn a_report_has_an_error_only_if_it_is_not_ok() {
        let document = report(json!({ "seconds": 1.5, "ok": true }), Exit::Ok, "");
        assert_eq!(document, json!({ "schema": 1, "ok": true, "seconds": 1.5 }));
        let document = report(json!({ "seconds": 1.5 }), Exit::Failed, "rank 3 died");
        assert_eq!(document["error"], json!({ "kind": "failed", "message": "rank 3 died" }));
        assert_eq!(document["ok"], json!(false));
        let document = report(json!({}), Exit::Interrupted, "");
        assert_eq!(document["error"]["message"], "interrupted; the same command goes on");
    }
}
