//! `dunlin create PATH`: a torrent of a file or a folder.

use super::scan::{ScanOptions, ScannedContent, scan};
use super::{check_folder, check_output, is_stream, show, write};
use crate::args::{Args, Command};
use crate::console::out;
use crate::console::progress::{ProgressMode, Step};
use crate::exit::{Exit, Failure};
use crate::torrents::args::CreateArgs;
use crate::torrents::parsers::FileOrder;
use clap::Parser;
use dunlin_base::{format_size, plain};
use dunlin_disk::{NewSource, RealFs, hash_new};
use dunlin_metainfo::{
    Format, MAX_TORRENT_SIZE, NewFile, NewTorrent, Torrent, is_own_name, usual_piece_length,
};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What we call ourselves in torrents.
const CREATED_BY: &str = concat!("dunlin ", env!("CARGO_PKG_VERSION"));

/// The most sentences about what is left out; one more counts the others.
const MAX_LEFT_OUT: usize = 20;

/// The most names that are warned of because others will change them; one more counts the others.
const MAX_CHANGED: usize = 20;

/// Runs the command.
///
/// # Errors
/// If options contradict one another (exit 2), there is nothing to make a torrent of, or something
/// stands where it goes (exit 4), or a disk fails or a file changes meanwhile (exit 5).
pub(crate) fn run(args: &CreateArgs) -> Result<Exit, Failure> {
    if args.order == FileOrder::Listed && args.format != Format::V1 {
        let text = "--order listed is for --format v1: version 2 has an order of its own";
        return Err(Failure::usage(text));
    }
    let to_stdout = args.out.as_deref().is_some_and(is_stream);
    if args.json && to_stdout {
        return Err(Failure::usage("--json and `-o -` both want stdout; name a file for one"));
    }
    if let Some(out) = &args.out {
        check_output(out, args.force)?;
        check_folder(out)?;
    }
    let unnamed = PathBuf::new();
    let wanted = ScanOptions {
        exclude: &args.exclude,
        follow_links: args.follow_links,
        order: args.order,
        out: args.out.as_deref().unwrap_or(&unnamed),
    };
    let mut content = scan(&args.path, &wanted)?;
    if let Some(name) = &args.name {
        content.name.clone_from(name);
    }
    let out = match &args.out {
        Some(out) => out.clone(),
        None => PathBuf::from(format!("{}.torrent", content.name)),
    };
    check_output(&out, args.force)?;
    // Made here before, the torrent may stand among the files.
    if args.out.is_none()
        && let Ok(there) = out.canonicalize()
    {
        content.files.retain(|file| file.place.canonicalize().ok().as_ref() != Some(&there));
    }
    say_left_out(&content.left_out);
    if args.private && args.tracker.is_empty() {
        out::notice("warning: a private torrent without a tracker: nobody will find a peer of it");
    }
    let torrent = make(args, &content)?;
    let bytes = torrent.to_bytes();
    if bytes.len() > MAX_TORRENT_SIZE {
        let found = format_size(bytes.len() as u64);
        return Err(Failure::input(format!(
            "the torrent would have {found}, and programs read at most 10 MB; give a larger \
             --piece-size, or make several torrents"
        )));
    }
    write(&out, args.force, &bytes)?;
    report(args, &torrent, &out, bytes.len())?;
    Ok(Exit::Ok)
}

/// A torrent of plain data that is to be seeded, as the command makes it without other options.
/// It is not written anywhere.
///
/// # Errors
/// As [`run`].
pub(crate) fn of_data(path: &Path, trackers: &[String], quiet: bool) -> Result<Torrent, Failure> {
    let mut words = vec!["dunlin".into(), "create".into()];
    words.extend(trackers.iter().flat_map(|url| ["--tracker".into(), url.clone().into()]));
    words.extend(quiet.then(|| "--quiet".into()));
    words.extend(["--".into(), path.as_os_str().to_owned()]);
    let words: Vec<std::ffi::OsString> = words;
    let parsed = Args::try_parse_from(words).map_err(|error| Failure::usage(error.render()))?;
    let Command::Create(args) = parsed.command else {
        return Err(Failure::usage("`create` is no command"));
    };
    let nowhere = PathBuf::new();
    let wanted =
        ScanOptions { exclude: &[], follow_links: false, order: FileOrder::Name, out: &nowhere };
    let content = scan(path, &wanted)?;
    say_left_out(&content.left_out);
    make(&args, &content)
}

/// Hashes the files, and puts the torrent together.
fn make(args: &CreateArgs, content: &ScannedContent) -> Result<Torrent, Failure> {
    if is_own_name(&content.name) {
        let name = plain(&content.name);
        return Err(Failure::input(format!(
            "`{name}` is a name for what runs of dunlin keep, and nothing is fetched under it; give \
             another one with --name"
        )));
    }
    let total = content.files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.meta.len));
    let piece_length = args.piece_size.unwrap_or_else(|| usual_piece_length(total));
    let new = plan(args, content, piece_length)
        .map_err(|error| Failure::input(format!("{}: {error}", args.path.display())))?
        .with_private(args.private)
        .with_source(args.source.clone());
    let source =
        |file: &super::scan::SourceFile| NewSource { path: file.place.clone(), meta: file.meta };
    let sources: Vec<NewSource> = content.files.iter().map(source).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let what = format!("hashing {}", format_size(total));
    let mut step = Step::begin(ProgressMode::of(args.quiet), what, total);
    let hashes = hash_new(&RealFs, &new, &sources, threads, &mut |done| {
        step.at(done);
        ControlFlow::Continue(())
    });
    step.end();
    let hashes = hashes.map_err(Failure::disk)?;
    let mut torrent = new.finish(&hashes).map_err(Failure::input)?;
    torrent.trackers = args.tracker.iter().map(|tier| tier.0.clone()).collect();
    torrent.web_seeds.clone_from(&args.web_seed);
    torrent.comment.clone_from(&args.comment);
    torrent.created_by = Some(CREATED_BY.to_owned());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    torrent.creation_date = (!args.no_date).then_some(now.as_secs().cast_signed());
    say_changed(&torrent);
    Ok(torrent)
}

fn plan(
    args: &CreateArgs,
    content: &ScannedContent,
    piece_length: u32,
) -> Result<NewTorrent, dunlin_metainfo::BuildError> {
    let mut files: Vec<NewFile> = content
        .files
        .iter()
        .map(|file| NewFile {
            path: file.path.clone(),
            length: file.meta.len,
            executable: file.executable,
            link: file.link.clone(),
        })
        .collect();
    match files.pop() {
        Some(file) if content.single => {
            let file = NewFile { path: vec![content.name.clone()], ..file };
            NewTorrent::single(file, piece_length, args.format)
        }
        last => {
            files.extend(last);
            NewTorrent::folder(content.name.clone(), files, piece_length, args.format)
        }
    }
}

/// Warns of names that others will not see as they are here.
fn say_changed(torrent: &Torrent) {
    let mut changed = Vec::new();
    for (index, file) in torrent.files.iter().enumerate() {
        let Some(names) = file.aliases.as_deref() else { continue };
        let stored = torrent.stored_path(index).unwrap_or_default();
        let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
        changed.push(match (&names.raw, &names.portable) {
            (Some(raw), _) => format!("`{}` will be `{stored}` where it is fetched", text(raw)),
            (None, Some(other)) => {
                format!("`{stored}` will be `{}` where other programs fetch it", text(other))
            }
            (None, None) => continue,
        });
    }
    for sentence in changed.iter().take(MAX_CHANGED) {
        out::notice(&format!("warning: the name {sentence}"));
    }
    if changed.len() > MAX_CHANGED {
        let more = changed.len() - MAX_CHANGED;
        out::notice(&format!("warning: {more} more names will be changed where they are fetched"));
    }
}

fn say_left_out(left_out: &[String]) {
    for sentence in left_out.iter().take(MAX_LEFT_OUT) {
        out::notice(&format!("warning: {sentence}"));
    }
    if left_out.len() > MAX_LEFT_OUT {
        let more = left_out.len() - MAX_LEFT_OUT;
        out::notice(&format!("warning: {more} more are left out for reasons like these"));
    }
}

/// What was made: on stdout, unless the torrent went there.
fn report(args: &CreateArgs, torrent: &Torrent, out: &Path, bytes: usize) -> Result<(), Failure> {
    if args.json {
        return out::document(&show::document(torrent, bytes));
    }
    let mut lines = Vec::new();
    if let Some(hash) = torrent.hashes.v1 {
        lines.push(format!("info-hash     {hash}"));
    }
    if let Some(hash) = torrent.hashes.v2 {
        lines.push(format!("info-hash v2  {}", dunlin_base::hex(&hash)));
    }
    if is_stream(out) {
        if !args.quiet {
            lines.iter().for_each(|line| out::notice(line));
        }
        return Ok(());
    }
    out::data(|page| {
        page.line(format_args!("torrent       {}", out.display()))?;
        lines.iter().try_for_each(|line| page.line(line))
    })
}
