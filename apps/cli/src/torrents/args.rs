//! The options of the commands around .torrent files: `create`, `show`, `edit`, `magnet`.
#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "these doc comments are help texts for a terminal"
)]

pub(crate) mod transfer;
pub(crate) mod verify;

use super::parsers;
use clap::Args as ClapArgs;
use dunlin_metainfo::Format;
use dunlin_plan::Pattern;
use std::path::PathBuf;

/// Options of `dunlin create`.
#[derive(Debug, ClapArgs)]
pub(crate) struct CreateArgs {
    /// The file or folder to make a torrent of.
    ///
    /// Everything in a folder is taken, in the order of names. Links within it are links in the
    /// torrent, and others are left out; --follow-links takes all for what they lead to. What
    /// unfinished runs of dunlin left is left out, too, and what is left out is said.
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,

    /// The torrent to write, `-` for stdout [default: NAME.torrent in the current folder].
    ///
    /// A file that stands there is kept unless --force is given.
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub(crate) out: Option<PathBuf>,

    /// Replaces the output if it stands there already.
    ///
    /// It is replaced in one step when everything is hashed.
    #[arg(long, help_heading = "Output")]
    pub(crate) force: bool,

    /// Prints one JSON document on stdout instead of lines for people.
    ///
    /// Schema 1: the same fields as `dunlin show --json`.
    #[arg(long, help_heading = "Output")]
    pub(crate) json: bool,

    /// Shows no progress, and no info-hash on stderr with `-o -`.
    ///
    /// Warnings and errors are said all the same.
    #[arg(short, long, help_heading = "Output")]
    pub(crate) quiet: bool,

    /// A tracker; repeatable, each is a tier of its own. Commas make one tier of several.
    ///
    /// Programs ask the first tier first, and the others if none of it answers (BEP 12).
    #[arg(
        short,
        long,
        value_name = "URL",
        value_parser = parsers::tier,
        help_heading = "Who has it"
    )]
    pub(crate) tracker: Vec<parsers::Tier>,

    /// A server that has the files; repeatable.
    ///
    /// For a folder the address of the folder above it, for a single file the file's own (BEP 19).
    #[arg(long, value_name = "URL", value_parser = parsers::web_seed, help_heading = "Who has it")]
    pub(crate) web_seed: Vec<String>,

    /// Only the torrent's own trackers may name peers: no DHT, no exchange among peers (BEP 27).
    ///
    /// It is part of what is hashed, so that it makes another torrent. Wants a --tracker.
    #[arg(long, help_heading = "Who has it")]
    pub(crate) private: bool,

    /// Which torrent to make: v1, v2, hybrid [default: v1].
    ///
    /// `v1` is what every program reads. `v2` (BEP 52) verifies blocks of 16KiB and names each file
    /// by its content; few programs know it. `hybrid` is both, with padding between files.
    #[arg(
        long,
        value_name = "FORMAT",
        default_value = "v1",
        hide_default_value = true,
        value_parser = parsers::format,
        help_heading = "Content"
    )]
    pub(crate) format: Format,

    /// Bytes a piece: a power of two from 16KiB to 64MiB [default: by the length].
    ///
    /// The default is the smallest power of two of at least 16KiB that gives at most 2000 pieces,
    /// and at most 16MiB.
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = crate::parsers::piece_size,
        help_heading = "Content"
    )]
    pub(crate) piece_size: Option<u32>,

    /// Leaves out what matches; repeatable. Names are relative to PATH.
    ///
    /// `*` stays within one name, `**` crosses folders: `*.tmp` is in PATH itself, `**/*.tmp`
    /// anywhere, `cache/**` all in a folder. Quote it for the shell.
    #[arg(long, value_name = "GLOB", value_parser = Pattern::parse, help_heading = "Content")]
    pub(crate) exclude: Vec<Pattern>,

    /// Takes links in a folder for what they lead to.
    ///
    /// Links that lead nowhere, or to a folder that they are in, are left out all the same.
    #[arg(long, help_heading = "Content")]
    pub(crate) follow_links: bool,

    /// The order of files in a torrent v1: name, listed [default: name].
    ///
    /// `name`: by the bytes of each name, so that the same files are the same torrent everywhere;
    /// v2 and hybrid have no other order. `listed`: as the file system lists them, as some programs
    /// do.
    #[arg(
        long,
        value_name = "ORDER",
        default_value = "name",
        hide_default_value = true,
        value_parser = parsers::file_order,
        help_heading = "Content"
    )]
    pub(crate) order: parsers::FileOrder,

    /// The torrent's name [default: that of PATH].
    ///
    /// Others will find the file, or the folder, under this name.
    #[arg(long, value_name = "NAME", help_heading = "Content")]
    pub(crate) name: Option<String>,

    /// A tag that makes another torrent of the same files, as private sites want it.
    ///
    /// It stands in the info dictionary as `source`.
    #[arg(long, value_name = "TEXT", help_heading = "Content")]
    pub(crate) source: Option<String>,

    /// A comment for people.
    ///
    /// It does not change what is hashed.
    #[arg(long, value_name = "TEXT", help_heading = "Content")]
    pub(crate) comment: Option<String>,

    /// Leaves out when the torrent was made.
    ///
    /// Then the same files and options give the same torrent, byte for byte.
    #[arg(long, help_heading = "Content")]
    pub(crate) no_date: bool,
}

/// Options of `dunlin show`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ShowArgs {
    /// The torrent, `-` for stdin.
    ///
    /// A .torrent file of version 1, version 2, or both.
    #[arg(value_name = "TORRENT")]
    pub(crate) torrent: PathBuf,

    /// Prints one JSON document with everything instead of a table.
    ///
    /// Schema 1: fields may be added, none changes its meaning.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `dunlin edit`.
#[derive(Debug, ClapArgs)]
pub(crate) struct EditArgs {
    /// The torrent to change, `-` for stdin.
    ///
    /// It is only read. What is not named by an option stays as it is, byte for byte.
    #[arg(value_name = "TORRENT")]
    pub(crate) torrent: PathBuf,

    /// The torrent to write, `-` for stdout.
    ///
    /// It may be the same file, with --force.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) out: PathBuf,

    /// Replaces the output if it stands there already.
    ///
    /// It is replaced in one step, so that either the old or the new one is there.
    #[arg(long)]
    pub(crate) force: bool,

    /// Trackers instead of those that are there; repeatable, as with `create`.
    ///
    /// Each is a tier of its own; commas make one tier of several.
    #[arg(short, long, value_name = "URL", value_parser = parsers::tier, help_heading = "Changes")]
    pub(crate) tracker: Vec<parsers::Tier>,

    /// Trackers behind those that are there, as tiers of their own; repeatable.
    ///
    /// One that is there already is not added again.
    #[arg(long, value_name = "URL", value_parser = parsers::tier, help_heading = "Changes")]
    pub(crate) add_tracker: Vec<parsers::Tier>,

    /// Removes all trackers that are there.
    ///
    /// With --add-tracker the new ones remain.
    #[arg(long, conflicts_with = "tracker", help_heading = "Changes")]
    pub(crate) remove_trackers: bool,

    /// Web seeds instead of those that are there; repeatable.
    ///
    /// Servers that have the files (BEP 19).
    #[arg(long, value_name = "URL", value_parser = parsers::web_seed, help_heading = "Changes")]
    pub(crate) web_seed: Vec<String>,

    /// Removes all web seeds.
    ///
    /// Those of BEP 17 are left alone.
    #[arg(long, conflicts_with = "web_seed", help_heading = "Changes")]
    pub(crate) remove_web_seeds: bool,

    /// A comment instead of the one that is there.
    ///
    /// For people; it is not hashed.
    #[arg(long, value_name = "TEXT", help_heading = "Changes")]
    pub(crate) comment: Option<String>,

    /// Removes the comment.
    ///
    /// In all its spellings.
    #[arg(long, conflicts_with = "comment", help_heading = "Changes")]
    pub(crate) remove_comment: bool,

    /// Removes when the torrent was made, and by which program.
    ///
    /// Neither is hashed.
    #[arg(long, help_heading = "Changes")]
    pub(crate) remove_origin: bool,

    /// Allows changes that make another torrent, which has another swarm.
    ///
    /// What the options below change is hashed: whoever has the old torrent will not meet who has
    /// the new one.
    #[arg(long, help_heading = "Changes that make another torrent")]
    pub(crate) new_hash: bool,

    /// Makes it private (BEP 27).
    ///
    /// Needs --new-hash, unless it is private already.
    #[arg(long, help_heading = "Changes that make another torrent")]
    pub(crate) private: bool,

    /// Makes it public.
    ///
    /// Needs --new-hash, unless it is public already.
    #[arg(long, conflicts_with = "private", help_heading = "Changes that make another torrent")]
    pub(crate) public: bool,

    /// The tag of private sites.
    ///
    /// Needs --new-hash, unless it is the same.
    #[arg(long, value_name = "TEXT", help_heading = "Changes that make another torrent")]
    pub(crate) source: Option<String>,

    /// Removes the tag of private sites.
    ///
    /// Needs --new-hash, if there is one.
    #[arg(long, conflicts_with = "source", help_heading = "Changes that make another torrent")]
    pub(crate) remove_source: bool,

    /// Another name of the file or folder.
    ///
    /// Needs --new-hash, unless it is the same.
    #[arg(long, value_name = "NAME", help_heading = "Changes that make another torrent")]
    pub(crate) name: Option<String>,
}

/// Options of `dunlin magnet`.
#[derive(Debug, ClapArgs)]
pub(crate) struct MagnetArgs {
    /// The torrent, `-` for stdin.
    ///
    /// The link names it by its hashes; peers give the rest.
    #[arg(value_name = "TORRENT")]
    pub(crate) torrent: PathBuf,

    /// Leaves the trackers out.
    ///
    /// Then whoever opens the link has to know a peer (`dunlin get --peer`): nobody is found by the
    /// DHT.
    #[arg(long)]
    pub(crate) no_trackers: bool,

    /// The files that whoever opens the link should get; repeatable.
    ///
    /// A glob over the paths in the torrent, as in `docs/**`, or indexes as `dunlin show --json`
    /// gives them: `0,2,4-8` (BEP 53).
    #[arg(long, value_name = "GLOB", value_parser = parsers::Select::parse)]
    pub(crate) select: Vec<parsers::Select>,

    /// A peer that has the torrent: HOST:PORT; repeatable.
    ///
    /// It is asked at once, without a tracker. An IPv6 address stands in brackets.
    #[arg(long, value_name = "PEER", value_parser = parsers::peer)]
    pub(crate) peer: Vec<(String, u16)>,
}
