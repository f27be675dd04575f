//! The JSON forms of types that have none of their own, for `serde(with = …)`.

use dunlin_base::Rank;
use serde::{Deserialize, Deserializer, Serializer};

/// A rank as its number.
pub(crate) mod rank {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(rank: &Rank, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u32(rank.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Rank, D::Error> {
        u32::deserialize(from).map(Rank)
    }
}

/// A collection of ranks as an array of their numbers.
pub(crate) mod ranks {
    use super::*;

    pub(crate) fn serialize<'a, C, S>(ranks: &'a C, to: S) -> Result<S::Ok, S::Error>
    where
        &'a C: IntoIterator<Item = &'a Rank>,
        S: Serializer,
    {
        to.collect_seq(ranks.into_iter().map(|rank| rank.0))
    }

    pub(crate) fn deserialize<'de, C, D>(from: D) -> Result<C, D::Error>
    where
        C: FromIterator<Rank>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<u32>::deserialize(from)?.into_iter().map(Rank).collect())
    }
}

/// Counts by rank as an object.
pub(crate) mod by_rank {
    use super::*;
    use std::collections::BTreeMap;

    pub(crate) fn serialize<S: Serializer>(
        counts: &BTreeMap<Rank, u64>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(counts.iter().map(|(rank, count)| (rank.0, count)))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Rank, u64>, D::Error> {
        let counts = BTreeMap::<u32, u64>::deserialize(from)?;
        Ok(counts.into_iter().map(|(rank, count)| (Rank(rank), count)).collect())
    }
}

/// A path as text; one that is no UTF-8 is left out.
pub(crate) mod text_path {
    use super::*;
    use std::path::PathBuf;

    pub(crate) fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match path.as_deref().and_then(|path| path.to_str()) {
            Some(text) => to.serialize_some(text),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        Option::<PathBuf>::deserialize(from)
    }
}

/// A path in JSON: as text if it is UTF-8, else as an array of its bytes.
pub(crate) mod any_path {
    use super::*;
    use serde::Serialize;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::PathBuf;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum PathForm {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(crate) fn serialize<S: Serializer>(
        path: &Option<PathBuf>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let form = |path: &PathBuf| match path.to_str() {
            Some(text) => PathForm::Text(text.to_owned()),
            None => PathForm::Bytes(path.as_os_str().as_bytes().to_vec()),
        };
        path.as_ref().map(form).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<PathBuf>, D::Error> {
        let path = |form| match form {
            PathForm::Text(text) => PathBuf::from(text),
            PathForm::Bytes(bytes) => PathBuf::from(std::ffi::OsString::from_vec(bytes)),
        };
        Ok(Option::<PathForm>::deserialize(from)?.map(path))
    }
}
