//! The extension handshake (BEP 10): a dictionary that may come again, with what has changed. A key
//! of the wrong type is an absent one.

use super::ExtendedError;
use bytes::Bytes;
use dunlin_bencode::{Limits, Mode, Node, Writer, decode};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of a program's name that are kept: enough for people, too little to flood a log.
pub const MAX_CLIENT_NAME: usize = 64;

/// Metadata larger than this is nobody's; common programs stop there, too (BEP 9, practice).
const MAX_METADATA: u64 = 30 << 20;

/// The sender's numbers of extensions, by name (`m`). 0 is "not any more", and an absent name is
/// "nothing new". Memory follows the message that they came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionIds(BTreeMap<String, u8>);

impl ExtensionIds {
    /// The number of an extension.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u8> {
        self.0.get(name).copied()
    }
}

/// Of a name that comes twice the first number counts.
impl<N: Into<String>> FromIterator<(N, u8)> for ExtensionIds {
    fn from_iter<I: IntoIterator<Item = (N, u8)>>(ids: I) -> ExtensionIds {
        let mut names = BTreeMap::new();
        for (name, id) in ids {
            names.entry(name.into()).or_insert(id);
        }
        ExtensionIds(names)
    }
}

impl<const N: usize> From<[(&str, u8); N]> for ExtensionIds {
    fn from(ids: [(&str, u8); N]) -> ExtensionIds {
        ids.into_iter().collect()
    }
}

/// What an extension handshake says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedHandshake {
    /// The sender's numbers of extensions.
    pub extensions: ExtensionIds,
    /// Where the sender listens. Never 0.
    pub port: Option<u16>,
    /// The sender's program, cut to [`MAX_CLIENT_NAME`] bytes.
    pub client: Option<String>,
    /// The receiver's address as the sender sees it.
    pub your_ip: Option<IpAddr>,
    /// Another address of the sender.
    pub ipv4: Option<Ipv4Addr>,
    /// Another address of the sender.
    pub ipv6: Option<Ipv6Addr>,
    /// Requests that the sender keeps for the receiver at most.
    pub queue: Option<u32>,
    /// Bytes of the info dictionary, 1 to 30 MiB; not to be trusted.
    pub metadata_size: Option<u32>,
    /// Whether the sender wants nothing (BEP 21).
    pub upload_only: Option<bool>,
}

impl ExtendedHandshake {
    /// The dictionary, canonical.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut writer = Writer::new();
        writer.dict();
        if let Some(address) = self.ipv4 {
            writer.key("ipv4").bytes(address.octets());
        }
        if let Some(address) = self.ipv6 {
            writer.key("ipv6").bytes(address.octets());
        }
        writer.key("m").dict();
        for (name, id) in &self.extensions.0 {
            writer.key(name).integer(*id);
        }
        writer.end();
        if let Some(size) = self.metadata_size {
            writer.key("metadata_size").integer(size);
        }
        if let Some(port) = self.port {
            writer.key("p").integer(port);
        }
        if let Some(queue) = self.queue {
            writer.key("reqq").integer(queue);
        }
        if let Some(upload_only) = self.upload_only {
            writer.key("upload_only").integer(u8::from(upload_only));
        }
        if let Some(client) = &self.client {
            writer.key("v").bytes(client);
        }
        match self.your_ip {
            Some(IpAddr::V4(address)) => _ = writer.key("yourip").bytes(address.octets()),
            Some(IpAddr::V6(address)) => _ = writer.key("yourip").bytes(address.octets()),
            None => {}
        }
        writer.end();
        writer.finish().unwrap_or_default().into()
    }

    /// Reads the payload of an extension handshake. Unknown keys, and values of no use, count for
    /// nothing.
    ///
    /// # Errors
    /// If it is no dictionary.
    pub fn decode(payload: &[u8]) -> Result<ExtendedHandshake, ExtendedError> {
        let not_dict = ExtendedError::NotDict("extension handshake");
        let document = decode(payload, Mode::Lenient, Limits::MESSAGE).map_err(|_| not_dict)?;
        let root = document.root().dict().ok_or(not_dict)?;
        let number = |key: &str| root.get(key).and_then(|node| node.as_u64());
        let ids = root.get("m").and_then(|node| node.dict());
        let id = |(name, node): (&[u8], Node<'_>)| {
            let name = std::str::from_utf8(name).ok()?;
            Some((name.to_owned(), u8::try_from(node.as_u64()?).ok()?))
        };
        let size = number("metadata_size").filter(|size| (1..=MAX_METADATA).contains(size));
        Ok(ExtendedHandshake {
            extensions: ids.into_iter().flatten().filter_map(id).collect(),
            port: number("p").and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
            client: root.get("v").and_then(|node| node.as_bytes()).map(client),
            your_ip: root.get("yourip").and_then(address),
            ipv4: root.get("ipv4").and_then(|node| sized(node)).map(Ipv4Addr::from),
            ipv6: root.get("ipv6").and_then(|node| sized(node)).map(Ipv6Addr::from),
            queue: number("reqq").map(|queue| u32::try_from(queue).unwrap_or(u32::MAX)),
            metadata_size: size.and_then(|size| u32::try_from(size).ok()),
            upload_only: number("upload_only").map(|flag| flag != 0),
        })
    }
}

/// The name as people may see it: no control characters, and not long.
fn client(bytes: &[u8]) -> String {
    let cut = bytes.get(..MAX_CLIENT_NAME).unwrap_or(bytes);
    let text = String::from_utf8_lossy(cut);
    let mut name: String = text.chars().filter(|c| !c.is_control()).collect();
    while name.len() > MAX_CLIENT_NAME {
        name.pop();
    }
    name
}

fn sized<const N: usize>(node: Node<'_>) -> Option<[u8; N]> {
    node.as_bytes()?.try_into().ok()
}

/// Four or sixteen bytes; an IPv4 address in IPv6 clothes is an IPv4 address.
fn address(node: Node<'_>) -> Option<IpAddr> {
    let four = || sized::<4>(node).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    let sixteen =
        || sized::<16>(node).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)).to_canonical());
    four().or_else(sixteen)
}
