use super::*;
use crate::args::Args;
use clap::Parser;

fn spec(words: &str) -> JobSpec {
    let words = format!("dunlin {words}");
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    let command = Args::try_parse_from(&words).unwrap_or_else(|error| panic!("{error}")).command;
    JobSpec::given(&command, words).unwrap_or_else(|error| panic!("{error}"))
}

/// `0@a 1@a 2@b`: ranks and hosts.
fn sites(text: &str) -> Vec<Site> {
    let site = |word: &str| {
        let (rank, host) = word.split_once('@').unwrap();
        let (rank, host) = (Rank(rank.parse().unwrap()), host.to_owned());
        Site { rank, files: host.clone(), host }
    };
    text.split_whitespace().map(site).collect()
}

/// `rank: sources > dest`, with `=lower` for a mirror and `!` for one that is refused.
fn drawn(spec: &JobSpec, at: &str) -> Vec<String> {
    let one = |(rank, part): (Rank, Assignment)| {
        let sources: Vec<String> =
            part.sources.iter().map(|source| source.path.display().to_string()).collect();
        let mirrors = part.mirrors.map_or(String::new(), |lower| format!("={lower}"));
        let refused = if part.refused.is_some() { "!" } else { "" };
        assert_eq!(part.takes(), !part.dest.as_os_str().is_empty());
        format!("{rank}: {} > {}{mirrors}{refused}", sources.join(" "), part.dest.display())
    };
    parts(spec, &sites(at)).into_iter().map(one).collect()
}

#[test]
fn who_gives_and_who_takes() {
    let cases: [(&str, &str, &[&str]); 8] = [
        ("/s/m /d", "0@a 1@b", &["0: /s/m > /d", "1: /s/m > /d"]),
        ("/s/m /d", "0@a 1@a 2@b", &["0: /s/m > /d", "1: /s/m > /d=0", "2: /s/m > /d"]),
        ("/s/m /d/{rank}", "0@a 1@a", &["0: /s/m > /d/0", "1: /s/m > /d/1"]),
        ("/s/{host} /d", "0@a 1@b", &["0: /s/a > /d", "1: /s/b > /d"]),
        ("/s/m /d --from 0", "0@a 1@b", &["0: /s/m > /d", "1:  > /d"]),
        ("/s/m /d --to b", "0@a 1@b 2@b", &["0: /s/m > ", "1: /s/m > /d", "2: /s/m > /d=1"]),
        // In its place already, and a place inside the source or around it.
        ("/s/m /s", "0@a", &["0: /s/m > /s"]),
        ("/s/m /s/m/copy", "0@a", &["0: /s/m > /s/m/copy!"]),
    ];
    for (words, at, expected) in cases {
        assert_eq!(drawn(&spec(&format!("cast {words}")), at), expected, "{words}");
    }
}

#[test]
fn whoever_only_starts_the_others_takes_nothing() {
    let alone = || spec("cast /s /d").with_source_only();
    assert_eq!(drawn(&alone(), "0@a 1@b"), ["0: /s > ", "1: /s > /d"]);
    let heard = JobSpec::received(&alone().message()).unwrap();
    assert_eq!(drawn(&heard, "0@a 1@b"), ["0: /s > ", "1: /s > /d"]);
    let asked = spec("cast /s /d --to 0,1").with_source_only();
    assert_eq!(drawn(&asked, "0@a 1@b"), ["0: /s > /d", "1: /s > /d"]);
}

#[test]
fn whoever_is_not_there_is_said() {
    let said = |words: &str, at: &str| unmatched(&spec(&format!("cast /s /d {words}")), &sites(at));
    assert_eq!(said("--to 0 --from a", "0@a"), Vec::<String>::new());
    assert_eq!(said("--to 7", "0@a 1@b"), ["--to: no rank of this job is meant by it"]);
    assert_eq!(said("--from q", "0@a 1@b"), ["--from: no rank of this job is meant by it"]);
}

#[test]
fn a_plan_gives_roots_and_racks() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[node]]\nranks = \"0\"\nroot = \"src\"\nhave = [\"m/**\"]\n\
                [[node]]\nhosts = \"b,c\"\nroot = \"/d/{host}\"\nwant = [\"m/***\"]\nrack = \"r\"\n";
    std::fs::write(folder.path().join("plan.toml"), text).unwrap();
    let spec = spec(&format!("place {} --rack a=left", folder.path().display()));
    let base = folder.path().canonicalize().unwrap();
    assert_eq!(
        drawn(&spec, "0@a 1@b 2@c 3@q"),
        [
            format!("0: {}/src > ", base.display()),
            "1: /d/b > /d/b".to_owned(),
            "2: /d/c > /d/c".to_owned(),
            "3:  > ".to_owned()
        ]
    );
    let parts = parts(&spec, &sites("0@a 1@b 3@q"));
    let racks: Vec<&str> = parts.values().map(|part| part.rack.as_str()).collect();
    assert_eq!(racks, ["left", "r", ""]);
    assert_eq!(unmatched(&spec, &sites("0@a 1@b")).len(), 1, "no rank runs on c");
}
