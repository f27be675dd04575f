//! The command lines of `cast` and `place`: what only they have.
#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "these doc comments are help texts for a terminal"
)]

use super::RunArgs;
use crate::cluster::parsers::{self as parsers, Hosts, LinkRate, Racks, Who};
use clap::Args as ClapArgs;
use dunlin_base::Rate;
use std::path::PathBuf;

/// Options of `dunlin cast`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct CastArgs {
    /// Files and folders, on whichever ranks have them, whole or in part.
    ///
    /// Each lands in DEST under its last name; `SRC/`, with a slash at its end, means what is in
    /// it. {rank} and {host} are filled in. No two may land under the same name.
    #[arg(value_name = "SRC", required = true, num_args = 1..)]
    pub(crate) src: Vec<PathBuf>,

    /// The folder that everything lands in, on every rank or those of --to.
    ///
    /// It is made where it is not there. {rank} and {host} are filled in. Ranks of one host with
    /// the same DEST have one copy.
    #[arg(value_name = "DEST")]
    pub(crate) dest: PathBuf,

    /// Who gets it: ranks like 0,3-5, or hosts like n[01-16] [default: all].
    ///
    /// The others give what they have and take nothing.
    #[arg(long, value_name = "WHO", help_heading = "Placing")]
    pub(crate) to: Option<Who>,

    /// Whose SRC counts: ranks like 0, or hosts like n01 [default: whoever has it].
    ///
    /// With it, what others have at SRC is no source, and is repaired if it stands where SRC lands.
    #[arg(long, value_name = "WHO", help_heading = "Placing")]
    pub(crate) from: Option<Who>,

    /// What cast and place have in common.
    #[command(flatten)]
    pub(crate) placing: PlacingArgs,
}

/// Options of `dunlin place`.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct PlaceArgs {
    /// A plan.toml, or the folder that holds it.
    ///
    /// [[node]] says which ranks or hosts hold what, below which root; [[pin]] pins a file by its
    /// SHA-256. Only rank 0 reads it.
    #[arg(value_name = "PLAN")]
    pub(crate) plan: PathBuf,

    /// What cast and place have in common.
    #[command(flatten)]
    pub(crate) placing: PlacingArgs,
}

/// What `cast` and `place` have in common.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct PlacingArgs {
    /// Says what would move and how much, and moves nothing.
    ///
    /// By rank: what would be fetched, what linked, what is there already. Makes no file and no
    /// folder.
    #[arg(long, help_heading = "Placing", conflicts_with = "verify_only")]
    pub(crate) check: bool,

    /// Reads every byte and says what differs; moves nothing.
    ///
    /// Never believes a hash list of an earlier run. Exit 0 if everything is as it should be,
    /// otherwise 6, with each difference by rank and name.
    #[arg(long, help_heading = "Placing")]
    pub(crate) verify_only: bool,

    /// Removes what the wants match at a destination and nobody has.
    ///
    /// Only in the end, and only if nothing failed at that rank.
    #[arg(long, help_heading = "Placing")]
    pub(crate) delete: bool,

    /// Repairs a file where it stands, instead of beside it.
    ///
    /// It needs no space for a second copy. Whoever has the file open sees it change, and a run
    /// that is cut off leaves it half changed until the next one.
    #[arg(long, help_heading = "Placing")]
    pub(crate) in_place: bool,

    /// Reads every byte that stands anywhere, whatever earlier runs knew of it.
    ///
    /// Hash lists are kept in $XDG_CACHE_HOME/dunlin or ~/.cache/dunlin, and believed while size,
    /// times and inode of a file are the same.
    #[arg(long, help_heading = "Placing")]
    pub(crate) no_cache: bool,

    /// Every rank fetches for itself, even beside others on its host.
    ///
    /// Otherwise one rank of a host fetches a file, and the others link or copy it. One folder has
    /// one copy all the same: put {rank} into its path.
    #[arg(long, help_heading = "Placing")]
    pub(crate) per_rank: bool,

    /// What a rank sends at most, like 100MB (a second).
    ///
    /// Payload, of each rank by itself.
    #[arg(long, value_name = "RATE", value_parser = parsers::rate, help_heading = "Limits")]
    pub(crate) max_rate: Option<Rate>,

    /// Which hosts are near each other: n[01-08]=r1 or a file of such lines; repeatable.
    ///
    /// A file has one HOSTS=LABEL a line. Peers of one rack are preferred. `rack` in a plan.toml
    /// wins.
    #[arg(long, value_name = "HOSTS=LABEL", help_heading = "Placing")]
    pub(crate) rack: Vec<Racks>,

    /// Starts a rank on each of these hosts over ssh, like n[01-16],m1.
    ///
    /// This process is rank 0. It gives, and takes nothing itself unless its own host is in the
    /// list. A host that cannot be reached is named and left out.
    #[arg(long, value_name = "HOSTS", help_heading = "Launch", conflicts_with_all = ["hostfile", "ranks"])]
    pub(crate) hosts: Option<Hosts>,

    /// The same from a file: one host a line, `HOST slots=2` for two ranks.
    ///
    /// Lists like n[01-16] may stand in it. What follows a # says nothing.
    #[arg(long, value_name = "FILE", help_heading = "Launch", conflicts_with = "ranks")]
    pub(crate) hostfile: Option<PathBuf>,

    /// The command that starts a program on a host [default: ssh].
    ///
    /// Called as `CMD HOST COMMAND`; CMD may have options, parted by blanks. Nothing secret stands
    /// in the command: key and address go through its standard input.
    #[arg(
        long,
        value_name = "CMD",
        default_value = "ssh",
        hide_default_value = true,
        help_heading = "Launch"
    )]
    pub(crate) ssh: String,

    /// Where dunlin is on the hosts [default: the path of this one, or else by PATH].
    ///
    /// Each host needs the same version.
    #[arg(long, value_name = "PATH", help_heading = "Launch")]
    pub(crate) remote_dunlin: Option<PathBuf>,

    /// How many ranks there are in this process, 0 to N-1, over memory or virtual.
    ///
    /// The default is 1 for cast, and for place as many as the plan has.
    #[arg(long, value_name = "N", value_parser = parsers::count, help_heading = "Launch")]
    pub(crate) ranks: Option<u32>,

    /// The hosts that ranks of this process pretend to be on, in order, like n[01-04].
    ///
    /// Again from the first when there are more ranks. They see the same files all the same.
    #[arg(long, value_name = "HOSTS", help_heading = "Studies",
          conflicts_with_all = ["hosts", "hostfile"])]
    pub(crate) host_names: Option<Hosts>,

    /// How fast links are in virtual time: RATE, or RATE,3=RATE for one rank's.
    ///
    /// In both directions each, like 25MB. Only with --fabric virtual.
    #[arg(long, value_name = "RATES", help_heading = "Studies")]
    pub(crate) link_rate: Option<LinkRate>,

    /// What all runs have in common.
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

impl PlacingArgs {
    /// Whether nothing is to be moved or made.
    pub(crate) fn looks_only(&self) -> bool {
        self.check || self.verify_only
    }
}
