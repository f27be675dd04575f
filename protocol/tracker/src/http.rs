//! Announces and scrapes over HTTP (BEP 3, 7, 23, 24, 31, 48): queries and replies, both ways, and
//! the head of a request as a tracker reads it. It opens no connection.

mod head;
mod query;
mod reply;
mod requests;
mod scrape;

pub use head::{Head, HeadError, MAX_HEAD};
pub use query::{AnnounceQuery, QueryError, announce_query};
pub use reply::{
    AnnounceAnswer, MAX_BODY, MAX_PEERS, read_announce, write_announce, write_failure,
};
pub use reply::{compact_v4, compact_v6};
pub(crate) use reply::{makes_sense, text};
pub use requests::Requests;
pub use scrape::{
    MAX_SCRAPE, ScrapeReply, parse_scrape_query, read_scrape, scrape_query, write_scrape,
};

#[cfg(test)]
mod tests;
