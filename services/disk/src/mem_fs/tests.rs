use super::*;
use bytes::Bytes;

#[test]
fn synced_stays_and_unsynced_may_go() {
    let fs = MemFs::new();
    let file = fs.create_new(Path::new("/a")).unwrap();
    file.write_at(&[Bytes::from(vec![1; 2000])], 0).unwrap();
    file.sync().unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
    file.write_at(&[Bytes::from(vec![2; 2000])], 2000).unwrap();
    fs.create_new(Path::new("/b")).unwrap();
    fs.rename(Path::new("/a"), Path::new("/c")).unwrap();
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let image = fs.crash(seed);
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        let (a, b) = (image.read_all(a, 9999).ok(), image.read_all(b, 9).is_ok());
        let c = image.read_all(Path::new("/c"), 9999).ok();
        let content = a.as_ref().or(c.as_ref()).expect("one of the two names stands");
        assert_eq!(content.get(..2000), Some(&[1; 2000][..]));
        outcomes.insert((a.is_some(), b, content.len()));
    }
    assert!(outcomes.len() >= 12, "many outcomes, not one: {outcomes:?}");
}

#[test]
fn a_full_disk_writes_what_fits() {
    let fs = MemFs::new();
    let file = fs.create_new(Path::new("/a")).unwrap();
    fs.set_space(Some(3));
    let full = file.write_at(&[Bytes::from_static(b"hello")], 0).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 3);
    fs.set_space(None);
    file.write_at(&[Bytes::from_static(b"hello")], 0).unwrap();
}
