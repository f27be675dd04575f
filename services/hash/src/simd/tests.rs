use super::*;
use bytes::Bytes;
use dunlin_base::{Rng, hex};
use proptest::prelude::*;
use sha1::Sha1;

/// Lengths around the ends of a block, where padding takes one block or two.
const EDGES: &[usize] = &[0, 1, 54, 55, 56, 57, 63, 64, 65, 119, 120, 127, 128, 129];

type Hasher<const OUT: usize> = Box<dyn Fn(&[HashJob]) -> Vec<[u8; OUT]>>;
type Ways<const OUT: usize> = Vec<(String, Hasher<OUT>)>;

/// Every way of SHA-1 that this machine has, by name.
fn ways() -> Ways<20> {
    let ways: Ways<20> = vec![
        ("one by one".into(), Box::new(|jobs| Width::ONE.sha1(jobs))),
        ("as used".into(), Box::new(hash_pieces)),
        ("as detected".into(), Box::new(|jobs| Width::detect().sha1(jobs))),
    ];
    #[cfg(target_arch = "x86_64")]
    let ways = with_lanes::<lanes::Sha1Function, 5, 20>(ways);
    ways
}

/// Every way of SHA-256 that this machine has, by name.
fn ways_256() -> Ways<32> {
    let ways: Ways<32> = vec![
        ("one by one".into(), Box::new(|jobs| Width::ONE.sha256(jobs))),
        ("as used".into(), Box::new(sha256_many)),
        ("as detected".into(), Box::new(|jobs| Width::detect().sha256(jobs))),
    ];
    #[cfg(target_arch = "x86_64")]
    let ways = with_lanes::<lanes::Sha256Function, 8, 32>(ways);
    ways
}

/// Each kind of lanes by itself: used to the end, and left when few messages are left.
#[cfg(target_arch = "x86_64")]
fn with_lanes<F, const W: usize, const OUT: usize>(mut ways: Ways<OUT>) -> Ways<OUT>
where
    F: lanes::Function<W>,
    sha1_x16::X16: lanes::Kernel<16, W>,
    sha1_x8::X8: lanes::Kernel<8, W>,
{
    for worth in [0, 2, 5] {
        if let Some(kernel) = sha1_x16::X16::detect() {
            let way = move |jobs: &[HashJob]| {
                lanes::side_by_side::<F, _, 16, W, OUT>(kernel, jobs, worth)
            };
            ways.push((format!("16 lanes, {worth} or more"), Box::new(way)));
        }
        if let Some(kernel) = sha1_x8::X8::detect() {
            let way =
                move |jobs: &[HashJob]| lanes::side_by_side::<F, _, 8, W, OUT>(kernel, jobs, worth);
            ways.push((format!("8 lanes, {worth} or more"), Box::new(way)));
        }
    }
    ways
}

/// Tells who asks for the output of tests which ways have run.
#[allow(clippy::print_stdout, reason = "that is what it is for")]
fn say(name: &str) {
    println!("SHA-1 {name}");
}

fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = Rng::new(seed);
    (0..len).map(|_| rng.next_u64() as u8).collect()
}

/// The bytes, cut at these places (taken modulo their number).
fn job(bytes: &[u8], cuts: &[usize], zeros: u32) -> HashJob {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let part = |pair: &[usize]| Bytes::copy_from_slice(&bytes[pair[0]..pair[1]]);
    HashJob { parts: cuts.windows(2).map(part).collect(), zeros }
}

fn expected<D: Digest, const OUT: usize>(job: &HashJob) -> [u8; OUT] {
    let mut hash = D::new();
    job.parts.iter().for_each(|part| hash.update(part));
    hash.update(vec![0; job.zeros as usize]);
    hash.finalize().as_slice().try_into().unwrap()
}

fn check(jobs: &[HashJob]) {
    let right: Vec<_> = jobs.iter().map(expected::<Sha1, 20>).collect();
    for (name, way) in ways() {
        assert!(way(jobs) == right, "{name}: {} jobs", jobs.len());
    }
    let right: Vec<_> = jobs.iter().map(expected::<Sha256, 32>).collect();
    for (name, way) in ways_256() {
        assert!(way(jobs) == right, "SHA-256 {name}: {} jobs", jobs.len());
    }
}

#[test]
fn the_standards_examples() {
    // FIPS 180-4's examples of SHA-1, and the empty message.
    let million = Bytes::from(vec![b'a'; 1_000_000]);
    let cases: &[(&[u8], &str)] = &[
        (b"", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        (b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        ),
        (
            b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmno\
              ijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
            "a49b2446a02c645bf419f995b67091253a04a259",
        ),
        (&million, "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
    ];
    let jobs: Vec<_> = cases.iter().map(|(bytes, _)| job(bytes, &[], 0)).collect();
    for (name, way) in ways() {
        say(&name);
        // As they are, and so often that all lanes are refilled with messages of other lengths.
        for times in [1, 9] {
            let many: Vec<_> = jobs.iter().cycle().take(times * jobs.len()).cloned().collect();
            for (at, hash) in way(&many).iter().enumerate() {
                let (bytes, expected) = cases[at % cases.len()];
                assert_eq!(hex(hash), expected, "{name}: {} bytes", bytes.len());
            }
        }
    }
}

#[test]
fn the_standards_examples_of_sha_256() {
    let million = Bytes::from(vec![b'a'; 1_000_000]);
    let cases: &[(&[u8], &str)] = &[
        (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (&million, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"),
    ];
    let jobs: Vec<_> = cases.iter().map(|(bytes, _)| job(bytes, &[], 0)).collect();
    for (name, way) in ways_256() {
        say(&name);
        for times in [1, 9] {
            let many: Vec<_> = jobs.iter().cycle().take(times * jobs.len()).cloned().collect();
            for (at, hash) in way(&many).iter().enumerate() {
                let (bytes, expected) = cases[at % cases.len()];
                assert_eq!(hex(hash), expected, "{name}: {} bytes", bytes.len());
            }
        }
    }
}

#[test]
fn all_ends_of_blocks_with_all_ends_of_zeros() {
    for &len in EDGES {
        let bytes = random(len, 7);
        let jobs: Vec<_> = EDGES.iter().map(|&zeros| job(&bytes, &[3, 64], zeros as u32)).collect();
        check(&jobs);
    }
    // More zeros than are kept, and none.
    check(&[job(&[1], &[], 40_000), job(&[], &[], 16_384), job(&[], &[], 0)]);
}

#[test]
fn every_number_of_equal_pieces() {
    for count in 0..40 {
        let jobs: Vec<_> = (0..count).map(|seed| job(&random(1000, seed), &[512], 24)).collect();
        check(&jobs);
    }
}

#[test]
fn parts_that_start_at_odd_addresses() {
    let bytes = Bytes::from(random(5000, 9));
    let slice = |at: usize| HashJob { parts: vec![bytes.slice(at..), bytes.slice(..at)], zeros: 0 };
    check(&(0..33).map(slice).collect::<Vec<_>>());
}

fn any_job() -> impl Strategy<Value = HashJob> {
    let len = prop_oneof![3 => 0_usize..5000, 1 => proptest::sample::select(EDGES)];
    let cuts = prop::collection::vec(any::<usize>(), 0..6);
    (len, any::<u64>(), cuts, prop_oneof![Just(0), 0_u32..300])
        .prop_map(|(len, seed, cuts, zeros)| job(&random(len, seed), &cuts, zeros))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_same_as_one_by_one(jobs in prop::collection::vec(any_job(), 0..40)) {
        check(&jobs);
    }
}

/// GB/s, each way kept to the end, for so many equally long messages: where a way overtakes `one by
/// one`, it becomes worth it.
#[allow(clippy::print_stdout, reason = "a table is what it is for")]
fn table<const OUT: usize>(ways: Ways<OUT>, shift: usize) {
    let bytes = Bytes::from(random(16 << shift, 1));
    let ways: Vec<_> = ways
        .into_iter()
        .filter(|(name, _)| !name.contains("or more") || name.contains(" 0 "))
        .collect();
    for count in (1..=16).chain([17, 20, 24, 32]) {
        let part = |at: usize| bytes.slice((at % 16) << shift..(at % 16 + 1) << shift);
        let jobs: Vec<_> =
            (0..count).map(|at| HashJob { parts: vec![part(at)], zeros: 0 }).collect();
        print!("{count:2}");
        for (name, way) in &ways {
            let mut best = f64::MAX;
            for _ in 0..40 {
                let start = std::time::Instant::now();
                std::hint::black_box(way(&jobs));
                best = best.min(start.elapsed().as_secs_f64());
            }
            print!("  {name} {:.2}", (count << shift) as f64 / best / 1e9);
        }
        println!();
    }
}

#[test]
#[ignore = "a measurement, to be run alone and in a release build"]
fn break_even() {
    table(ways(), 18);
}

#[test]
#[ignore = "a measurement, to be run alone and in a release build"]
fn break_even_256() {
    table(ways_256(), 14);
}
