//! `dunlin completions SHELL` and `dunlin man`: what shells and manuals know of the command line,
//! made of the same definition as its help.

#![allow(
    rustdoc::invalid_html_tags,
    rustdoc::broken_intra_doc_links,
    reason = "these doc comments are help texts for a terminal"
)]

use crate::console::out;
use crate::exit::{Exit, Failure};
use clap::Args as ClapArgs;
use clap_complete::Shell;
use clap_mangen::Man;
use dunlin_disk::{Fs, RealFs, write_file};
use std::path::{Path, PathBuf};

/// Options of `dunlin completions`.
#[derive(Debug, ClapArgs)]
pub(crate) struct CompletionsArgs {
    /// The shell: bash, zsh, fish.
    ///
    /// The script goes to stdout: `dunlin completions bash > /etc/bash_completion.d/dunlin`.
    #[arg(value_name = "SHELL", value_parser = shell)]
    pub(crate) shell: Shell,
}

/// Options of `dunlin man`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ManArgs {
    /// Where to write all pages; without it the main page goes to stdout.
    ///
    /// dunlin.1, and dunlin-COMMAND.1 for each command. The folder is created.
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

fn shell(text: &str) -> Result<Shell, String> {
    match text {
        "bash" => Ok(Shell::Bash),
        "zsh" => Ok(Shell::Zsh),
        "fish" => Ok(Shell::Fish),
        _ => Err(format!("`{text}` is no shell that is known: use one of bash, zsh, fish")),
    }
}

/// Prints the completions of `command` for a shell.
///
/// # Errors
/// If stdout takes no more (exit 5).
pub(crate) fn completions(
    args: &CompletionsArgs,
    mut command: clap::Command,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "dunlin", &mut script);
    out::data(|page| page.file(&script))?;
    Ok(Exit::Ok)
}

/// Writes all pages of the manual of `command` to a folder, or the main one to stdout.
///
/// # Errors
/// If they cannot be written (exit 5).
pub(crate) fn man(args: &ManArgs, mut command: clap::Command) -> Result<Exit, Failure> {
    let failed = |path: &Path, error: std::io::Error| {
        Failure::disk(format!("cannot write {}: {error}; name another folder", path.display()))
    };
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
