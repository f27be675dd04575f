//! What nodes hand to a network, and what it hands to them.

/// A message on its way from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer<Id, T> {
    /// Who sends it.
    pub from: Id,
    /// Whom it is for. A message to oneself crosses no link.
    pub to: Id,
    /// Its size on the wire, in bytes.
    pub bytes: u64,
    /// What travels.
    pub message: T,
    /// A notice for the sender: it is delivered when the sender's link has taken the last byte.
    pub sent: Option<T>,
}

/// Something has come to a node: a message, a notice, or what it has scheduled for itself. For the
/// latter two `from` is the node itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery<Id, T> {
    /// Who has sent it.
    pub from: Id,
    /// Where it is now.
    pub to: Id,
    /// What has come.
    pub message: T,
}
