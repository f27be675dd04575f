//! `dunlin completions SHELL` and `dunlin man`: what shells and manuals know of the command line, made
//! of the same definition as its help.

use crate::args::Args;
use crate::args::torrent::{CompletionsArgs, ManArgs};
use crate::exit::{Exit, Failure};
use crate::out;
use clap::CommandFactory;
use clap_mangen::Man;
use dunlin_disk::{Fs, RealFs, write_file};
use std::path::Path;

/// Prints the completions of a shell.
///
/// # Errors
/// If stdout takes no more (exit 5).
pub(crate) fn completions(args: &CompletionsArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "dunlin", &mut script);
    out::data(|page| page.file(&script))?;
    Ok(Exit::Ok)
}

/// Writes all pages of the manual to a folder, or the main one to stdout.
///
/// # Errors
/// If they cannot be written (exit 5).
pub(crate) fn man(args: &ManArgs) -> Result<Exit, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::disk(format!("cannot write {}: {error}; name another folder", path.display()))
    };
    let mut command = Args::command();
    // Names every command with the one above it, as people type it.
    command.build();
    let Some(dir) = &args.dir else {
        let page = render(command).map_err(|error| failed(Path::new("stdout"), error))?;
        out::data(|stdout| stdout.file(&page))?;
        return Ok(Exit::Ok);
    };
    let fs = RealFs.inside(dir);
    fs.create_dir_all(dir).map_err(|error| failed(dir, error))?;
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    let mut pages: Vec<clap::Command> =
        below.filter(|command| command.get_name() != "help").cloned().collect();
    pages.push(command);
    for page in pages {
        let name = page.get_display_name().unwrap_or(page.get_name()).to_owned();
        let path = dir.join(format!("{name}.1"));
        let text = render(page).map_err(|error| failed(&path, error))?;
        write_file(&*fs, &path, &text).map_err(|error| failed(&path, error))?;
    }
    Ok(Exit::Ok)
}

fn render(command: clap::Command) -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}
