//! A .torrent file again, of what was read from one.

use dunlin_bencode::Writer;

use super::Torrent;

impl Torrent {
    /// A .torrent file with what is known here. The info dictionary stands in it byte for byte.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.dict();
        if let Some(first) = self.trackers.first().and_then(|tier| tier.first()) {
            writer.key("announce").bytes(first);
            if self.trackers.iter().map(Vec::len).sum::<usize>() > 1 {
                writer.key("announce-list").list();
                self.trackers.iter().for_each(|tier| write_list(&mut writer, tier));
                writer.end();
            }
        }
        write_strings(&mut writer, "collections", &self.collections);
        write_text(&mut writer, "comment", self.comment.as_ref());
        write_text(&mut writer, "created by", self.created_by.as_ref());
        if let Some(date) = self.creation_date {
            writer.key("creation date").integer(date);
        }
        write_strings(&mut writer, "httpseeds", &self.http_seeds);
        writer.key("info").raw(&self.info);
        if !self.nodes.is_empty() {
            writer.key("nodes").list();
            for (host, port) in &self.nodes {
                writer.list().bytes(host).integer(*port).end();
            }
            writer.end();
        }
        if self.hashes.v2.is_some() && self.has_layers() {
            writer.key("piece layers").dict();
            for (root, layer) in self.layers() {
                writer.key(root).bytes(layer.as_flattened());
            }
            writer.end();
        }
        let similar: Vec<[u8; 20]> = self.similar.iter().map(|hash| hash.0).collect();
        write_strings(&mut writer, "similar", &similar);
        write_strings(&mut writer, "url-list", &self.web_seeds);
        writer.end();
        writer.finish().unwrap_or_default()
    }
}

fn write_text(writer: &mut Writer, key: &str, text: Option<&String>) {
    if let Some(text) = text {
        writer.key(key).bytes(text);
    }
}

fn write_strings(writer: &mut Writer, key: &str, strings: &[impl AsRef<[u8]>]) {
    if !strings.is_empty() {
        writer.key(key);
        write_list(writer, strings);
    }
}

fn write_list(writer: &mut Writer, strings: &[impl AsRef<[u8]>]) {
    writer.list();
    for string in strings {
        writer.bytes(string);
    }
    writer.end();
}
