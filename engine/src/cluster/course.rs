//! The classic client, as it is taught: one request in flight, every member of the swarm may be
//! asked, and a refusal is remembered for (peer, piece) until the next refresh. What it decides is
//! short enough to be read in an evening; whoever studies another rule writes it beside these.
//!
//! Read in this order:
//!
//! 1. [`crate::swarm::sources`]: from whom. Round robin, least busy, least loaded, two choices,
//!    random: a file of a few lines each, over a list of
//!    [`SourceView`](crate::swarm::sources::SourceView).
//! 2. `one_request`: which block to ask of whom, and when: [`OneRequest`] is the whole algorithm.
//! 3. [`crate::swarm::policy`]: what a policy sees of the swarm and what it may do. Both above
//!    decide with nothing else.
//! 4. [`crate::swarm::picker`]: which piece next, in order (the classic way), rarest first, or
//!    random.
//!
//! ```text
//!   fill ─ a piece is under way? ──────────────────────────────────────────▶ wait
//!        ├ a started piece has an open block? ─▶ ask the peer that gives it
//!        ├ the next piece that a member may give ─▶ choose a member ─▶ dial it, or start the piece
//!        └ nobody may be asked ─▶ starve: the tracker is asked (refresh)
//! ```
//!
//! What the profile sets besides (files one after another, refreshes that are awaited) is in
//! `profile`.

mod one_request;

pub(super) use one_request::OneRequest;
