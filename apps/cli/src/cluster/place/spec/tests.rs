use super::*;
use crate::exit::Exit;

fn parse(words: &str) -> (Command, Vec<String>) {
    let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
    let args = Args::try_parse_from(&words).unwrap_or_else(|error| panic!("{error}"));
    (args.command, words)
}

fn spec_of(
    command: &Command,
    words: Vec<String>,
    plan: Option<PlaceFile>,
) -> Result<JobSpec, Failure> {
    JobSpec::new(command, JobMessage::new(words, Path::new("/w"), plan, Vec::new())?)
}

fn cast_of(words: &str) -> Result<Cast, Failure> {
    let (command, words) = parse(&format!("dunlin cast {words}"));
    let spec = spec_of(&command, words, None)?;
    let again = JobSpec::received(&spec.message()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.message(), spec.message(), "what was sent is received");
    match (spec.task, again.task) {
        (Task::Cast(cast), Task::Cast(again)) => {
            assert_eq!((&cast.sources, &cast.dest), (&again.sources, &again.dest));
            Ok(cast)
        }
        _ => panic!("no cast"),
    }
}

#[test]
fn a_source_lands_under_its_last_name() {
    // SRC, where it is, its name, what is wanted of it.
    let cases = [
        ("a", "/w/a", "a", "a/***"),
        ("./a/b", "/w/a/b", "b", "b/***"),
        ("/a/b", "/a/b", "b", "b/***"),
        ("a/b/", "/w/a/b", "", "**"),
        ("a/.", "/w/a", "", "**"),
        (".", "/w", "", "**"),
        ("/a//", "/a", "", "**"),
        ("a[1]*", "/w/a[1]*", "a[1]*", "a[[]1][*]/***"),
        ("p-{rank}.bin", "/w/p-{rank}.bin", "p-{rank}.bin", "p-*.bin/***"),
        ("{host}/x{rank}{host}", "/w/{host}/x{rank}{host}", "x{rank}{host}", "x*/***"),
    ];
    for (said, path, name, wanted) in cases {
        let cast = cast_of(&format!("{said} dest")).unwrap();
        let source = &cast.sources[0];
        let found = (source.path.as_str(), source.name.as_str(), source.wanted.as_str());
        assert_eq!(found, (path, name, wanted), "{said}");
        assert_eq!(cast.dest, "/w/dest");
    }
    assert_eq!(cast_of("a /").unwrap().dest, "/");
    assert_eq!(cast_of("a .").unwrap().dest, "/w");
    assert_eq!(cast_of("a d/{rank}/").unwrap().dest, "/w/d/{rank}");
}

#[test]
fn two_sources_of_one_name_are_refused() {
    for words in ["a x/a d", "x/p{rank} y/p{rank} d", "a b a d"] {
        let failure = cast_of(words).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{words}");
        assert!(failure.message.contains("would both land as"), "{failure}");
    }
    // What is in folders may land side by side.
    assert!(cast_of("a/ b/ d").is_ok());
    assert!(cast_of("a/.. d").is_err());
}

#[test]
fn what_another_version_tells_is_refused() {
    let (command, words) = parse("dunlin cast a b");
    let spec = spec_of(&command, words, None).unwrap();
    let mut told = spec.message();
    told["dunlin"] = "0.0.0".into();
    let failure = JobSpec::received(&told).unwrap_err();
    assert_eq!(failure.exit, Exit::Environment);
    assert!(failure.message.contains("0.0.0"), "{failure}");
    for key in ["dunlin", "words", "cwd", "racks"] {
        let mut told = spec.message();
        told.as_object_mut().unwrap().remove(key);
        assert!(JobSpec::received(&told).is_err(), "without {key}");
    }
}

#[test]
fn racks_come_from_options_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("racks");
    std::fs::write(&file, "n[1-2]=left  # the old ones\nn3 = right\n").unwrap();
    let line = format!("dunlin cast a b --rack {} --rack n2=mine", file.display());
    let (command, words) = parse(&line);
    let spec = JobSpec::given(&command, words).unwrap();
    let again = JobSpec::received(&spec.message()).unwrap();
    for (host, rack) in [("n1", "left"), ("n2.cluster", "mine"), ("n3", "right"), ("m", "")] {
        assert_eq!((spec.rack_of(host), again.rack_of(host)), (rack.into(), rack.into()), "{host}");
    }
    std::fs::write(&file, "n1=a\nn2\n").unwrap();
    let (command, words) = parse(&line);
    let failure = JobSpec::given(&command, words).unwrap_err();
    assert!(failure.message.contains("racks:2: expected HOSTS=LABEL"), "{failure}");
}

#[test]
fn a_plan_is_told_as_rank_0_read_it() {
    let text = "[[node]]\nranks = \"0-1\"\nroot = \"d/{rank}\"\nwant = [\"m/**\"]\n";
    let plan = PlaceFile { file: "p.toml".into(), dir: "/plans".into(), text: text.into() };
    let (command, words) = parse("dunlin place p.toml --delete");
    let spec = spec_of(&command, words, Some(plan)).unwrap();
    let again = JobSpec::received(&spec.message()).unwrap();
    let (Task::Place(one), Task::Place(two)) = (&spec.task, &again.task) else { panic!("no plan") };
    assert_eq!((&one.plan, &one.dir, &one.file), (&two.plan, &two.dir, &two.file));
    assert!(again.options.delete);
}
