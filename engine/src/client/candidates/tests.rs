use super::*;

fn socket(a: u8, b: u8, port: u16) -> Endpoint {
    Endpoint::Socket(std::net::SocketAddr::from(([10, 0, a, b], port)))
}

#[test]
fn a_stranger_fills_no_list_and_those_that_are_named_always_get_in() {
    let (mut list, mut known) = (Candidates::default(), PeerList::default());
    let source = |n: u8| PeerSource::Peer(Some(IpAddr::from([10, 0, 0, n])));
    for port in 1..4000 {
        list.add(&mut known, socket(0, 1, port), 7, source(1));
        list.check(&known);
    }
    assert_eq!(known.len(), MAX_SAID_PER_SOURCE, "one source names so many");
    assert!(known.get(socket(0, 1, 3999)).is_some(), "the last ones");
    // Strangers of many sources fill it, and nobody else is kept out by them.
    for n in 0..4000_u32 {
        let named_by = PeerSource::Peer(Some(IpAddr::from(n.to_be_bytes())));
        list.add(&mut known, socket(1 + (n >> 8) as u8, n as u8, 9), n, named_by);
    }
    assert_eq!(known.len(), MAX_KNOWN);
    assert!(list.add(&mut known, socket(0, 2, 5), 1, PeerSource::User));
    for n in 0..4000_u32 {
        assert!(list.add(
            &mut known,
            socket(100 + (n >> 8) as u8, n as u8, 9),
            n,
            PeerSource::Tracker
        ));
        list.check(&known);
    }
    assert_eq!(known.len(), MAX_KNOWN);
    assert!(known.get(socket(0, 2, 5)).is_some(), "whom people name stays");
    assert!(
        !list.add(&mut known, socket(0, 3, 5), 1, source(3)),
        "a stranger takes no place of theirs"
    );
    list.peers.get_mut(&socket(110, 5, 9)).unwrap().failures = 1;
    assert!(list.add(&mut known, socket(0, 3, 5), 1, source(3)), "but of one that failed");
    assert!(known.get(socket(110, 5, 9)).is_none());
}

#[test]
fn an_announced_address_is_taken_back_and_a_better_source_stays() {
    let (mut list, mut known) = (Candidates::default(), PeerList::default());
    let (said, conn) = (PeerSource::Peer(None), dunlin_base::ConnId(3));
    for port in [1, 2] {
        list.add(&mut known, socket(0, 1, port), 1, said);
        list.set_twin(socket(0, 1, port), conn);
    }
    assert!(!list.add(&mut known, socket(0, 1, 2), 1, PeerSource::Tracker), "it is known");
    list.take_back(&mut known, socket(0, 1, 1), conn);
    list.take_back(&mut known, socket(0, 1, 2), conn);
    assert!(known.get(socket(0, 1, 1)).is_none());
    let one = list.get(socket(0, 1, 2));
    assert_eq!((one.source, one.twin), (PeerSource::Tracker, None));
    assert!(
        !list.add(&mut known, socket(0, 1, 2), 1, said) && known.get(socket(0, 1, 2)).is_some()
    );
}
