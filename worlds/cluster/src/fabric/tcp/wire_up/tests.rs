//! Tests of how a process finds its job.

use super::*;

fn flags(words: &str) -> WireFlags {
    let mut flags = WireFlags {
        rank: None,
        size: None,
        root: None,
        listen: None,
        key_file: None,
        patience: Duration::from_secs(60),
    };
    for (key, value) in words.split_whitespace().filter_map(|word| word.split_once('=')) {
        match key {
            "rank" => flags.rank = Some(value.parse().unwrap()),
            "size" => flags.size = Some(value.parse().unwrap()),
            "root" => flags.root = Some(value.to_owned()),
            "key" => flags.key_file = Some(value.into()),
            _ => panic!("{key}"),
        }
    }
    flags
}

fn decide(said: &str, environment: &str) -> Result<WireUp, WireUpError> {
    let find = |name: &str| {
        let pairs = environment.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    WireUp::decide(&flags(said), &find)
}

/// `rank/size`, where rank 0 is said to be or may be, and where the key comes from.
fn drawn(wire: &WireUp) -> String {
    let key = match &wire.key {
        KeySource::File(path) => path.display().to_string(),
        KeySource::Stdin => "stdin".to_owned(),
        KeySource::Known(_) => "known".to_owned(),
    };
    let root = wire.root.as_ref().or(wire.guess.as_ref());
    format!("{}/{} {} {key}", wire.rank, wire.size, root.map_or("-", |root| root))
}

#[test]
fn rank_size_and_root_are_found() {
    for (said, environment, expected) in [
        ("rank=3 size=5 root=n01:4711 key=f", "", "3/5 n01:4711 f"),
        ("rank=0 size=1 key=-", "", "0/1 - stdin"),
        ("rank=1 size=2 root=[2001:db8::1]:99 key=f", "", "1/2 [2001:db8::1]:99 f"),
        ("key=f", "OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=8", "3/8 - f"),
        ("key=f", "PMI_RANK=1 PMI_SIZE=2 MPI_LOCALNRANKS=2", "1/2 - f"),
        ("key=f", "FLUX_TASK_RANK=2 FLUX_JOB_SIZE=4", "2/4 - f"),
        ("key=f size=9", "PMIX_RANK=4", "4/9 - f"),
        (
            "key=f",
            "SLURM_STEP_ID=2 SLURM_PROCID=6 SLURM_NTASKS=9 SLURM_JOB_ID=1000 \
             SLURM_STEP_NODELIST=n[07-16],m1",
            "6/9 n07:27002 f",
        ),
        ("key=f", "SLURM_STEP_ID=2 SLURM_PROCID=6 SLURM_NTASKS=9", "6/9 - f"),
        ("key=f", "RANK=1 WORLD_SIZE=4 MASTER_ADDR=n01 MASTER_PORT=29500", "1/4 n01:29500 f"),
        ("key=f", "RANK=1 WORLD_SIZE=4 MASTER_ADDR=::1 MASTER_PORT=29500", "1/4 [::1]:29500 f"),
        (
            "key=f",
            "RANK=1 WORLD_SIZE=4 MASTER_ADDR=n01 MASTER_PORT=29500 \
             TORCHELASTIC_USE_AGENT_STORE=True",
            "1/4 - f",
        ),
        ("key=f root=a:1", "RANK=1 WORLD_SIZE=4 MASTER_ADDR=n01 MASTER_PORT=2", "1/4 a:1 f"),
        // What is said counts more than the environment.
        ("rank=2 size=3 key=f", "OMPI_COMM_WORLD_RANK=7 OMPI_COMM_WORLD_SIZE=8", "2/3 - f"),
    ] {
        let found = decide(said, environment).map(|wire| drawn(&wire));
        assert_eq!(found.as_deref(), Ok(expected), "{said} | {environment}");
    }
}

#[test]
fn what_is_missing_is_named() {
    for (said, environment, expected, usage) in [
        ("key=f", "", "needs a rank", true),
        ("size=3 key=f", "", "needs a rank", true),
        ("rank=3 key=f", "", "--rank does not say how many ranks", false),
        ("key=f", "PMIX_RANK=4", "PMIx does not say how many ranks", false),
        ("rank=3 size=3 key=f", "", "rank 3 of 3: ranks are 0 to 2", true),
        ("rank=1 size=3", "", "needs a key", true),
        ("rank=1 size=3 key=f root=n01", "", "--root n01: expected HOST:PORT", true),
        ("rank=1 size=3 key=f root=n01:0", "", "expected HOST:PORT", true),
        ("rank=1 size=3 key=f root=::1:9", "", "expected HOST:PORT", true),
        ("rank=1 size=3 key=f root=:9", "", "expected HOST:PORT", true),
    ] {
        let error = decide(said, environment).unwrap_err();
        assert!(error.to_string().contains(expected), "{said} | {environment}: {error}");
        assert_eq!(error.is_usage(), usage, "{error}");
    }
}

#[test]
fn the_first_host_of_a_list() {
    for (list, expected) in [
        ("n01", Some("n01")),
        ("n[01-16]", Some("n01")),
        ("n[3,7-9],m1", Some("n3")),
        ("a[1-2]b[03-04]-ib.x,c", Some("a1b03-ib.x")),
        ("m1,n[01-16]", Some("m1")),
        ("", None),
        ("n[01", None),
        ("n;rm", None),
    ] {
        assert_eq!(first_host(list).as_deref(), expected, "{list}");
    }
}

#[test]
fn a_line_brings_everything_to_another_rank() {
    let wire = WireUp::start(3, Some("127.0.0.1:0".parse().unwrap())).unwrap();
    let port = wire.listener().unwrap().local_addr().unwrap().port();
    assert_eq!(wire.roots(), [format!("127.0.0.1:{port}")]);
    let line = wire.line_for(Rank(2), &["here:1".to_owned()]);
    assert!(!line.contains('\n'));
    let other = WireUp::of_line(&line, Duration::ZERO).unwrap();
    assert_eq!((other.rank(), other.size()), (Rank(2), 3));
    let secret = other.stdin().unwrap();
    assert_eq!(other.places_of(&secret), ["here:1".to_owned(), format!("127.0.0.1:{port}")]);
    let KeySource::Known(key) = wire.key() else { panic!("known") };
    assert_eq!(secret.key.to_hex(), key.to_hex());
    for wrong in ["", "{}", &line.replace("\"rank\":2", "\"rank\":3"), &line[1..]] {
        assert!(WireUp::of_line(wrong, Duration::ZERO).is_err(), "{wrong}");
    }
}
