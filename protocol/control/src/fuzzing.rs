//! Checks that hold for any bytes. Fuzz targets and the replay of their corpus call them.

use crate::{Control, decode, encode};

/// Any bytes: a message whose one encoding they are, or an error. The message is returned for those
/// who go on with it.
///
/// # Panics
/// If a property does not hold.
pub fn control(data: &[u8]) -> Option<Control> {
    match decode(data) {
        Ok(message) => {
            assert_eq!(encode(&message), data, "one encoding: {message:?}");
            Some(message)
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}
