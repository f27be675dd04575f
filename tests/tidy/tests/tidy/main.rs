//! The house rules that a compiler does not know, as tests. Each failure is a line
//! `file:line: what is wrong; what to do`. ARCHITECTURE.md and STYLE.md have the reasons.

mod bans;
mod documents;
mod edges;
mod house;
mod limits;
mod lock;
mod manifest;
mod pages;
mod paths;
mod scan;
#[cfg(test)]
mod tests;

use house::House;

/// Fails with all complaints, a line each.
fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn edges_point_down() {
    expect_none(&edges::check(&House::read().crates));
}

#[test]
fn dependencies_below_the_services_are_on_the_list() {
    expect_none(&edges::check_allowed(&House::read().crates));
}

#[test]
fn sockets_and_keys_have_their_crates() {
    expect_none(&edges::check_reserved(&House::read().crates));
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    expect_none(&edges::check_lints(&House::read().crates));
}

#[test]
fn no_io_clock_thread_lock_or_hash_order_below_the_services() {
    let house = House::read();
    let all = house.sources.iter().filter(|source| source.is_below_services() && !source.is_test());
    let complaints: Vec<String> = all.flat_map(bans::check_pure).collect();
    expect_none(&complaints);
}

#[test]
fn files_are_opened_by_name_in_one_place() {
    let house = House::read();
    let all = house.sources.iter().filter(|source| !source.is_test());
    let complaints: Vec<String> = all.flat_map(bans::check_opens).collect();
    expect_none(&complaints);
}

#[test]
fn no_float_decides_in_the_engine() {
    let house = House::read();
    let all = house.sources.iter().filter(|source| source.is_engine() && !source.is_test());
    let complaints: Vec<String> = all.flat_map(bans::check_floats).collect();
    expect_none(&complaints);
}

#[test]
fn unsafe_stays_where_it_may_be() {
    let house = House::read();
    let complaints: Vec<String> = house.sources.iter().flat_map(bans::check_unsafe).collect();
    expect_none(&complaints);
}

#[test]
fn unsafe_code_is_listed() {
    expect_none(&pages::check_unsafe(&House::read()));
}

#[test]
fn what_the_threat_model_names_is_there() {
    expect_none(&pages::check_threats(&House::read()));
}

#[test]
fn texts_go_out_through_one_place() {
    let house = House::read();
    let complaints: Vec<String> = house.sources.iter().flat_map(bans::check_streams).collect();
    expect_none(&complaints);
}

#[test]
fn files_are_short() {
    let house = House::read();
    let complaints: Vec<String> = house.sources.iter().filter_map(bans::check_length).collect();
    expect_none(&complaints);
}

#[test]
fn every_dependency_has_its_row() {
    expect_none(&documents::check_dependency_rows(&House::read()));
}

#[test]
fn every_bound_has_its_row() {
    expect_none(&limits::check(&House::read()));
}

#[test]
fn every_library_says_what_it_is() {
    expect_none(&documents::check_crate_docs(&House::read()));
}

#[test]
fn texts_name_no_machine_and_no_registry() {
    expect_none(&documents::check_texts(&House::read()));
}

#[test]
fn links_between_documents_lead_somewhere() {
    expect_none(&documents::check_links(&House::read()));
}

#[test]
fn every_fuzz_target_has_a_corpus_and_a_replay() {
    expect_none(&documents::check_fuzz(&House::read()));
}

#[test]
fn the_lock_file_has_one_provider_and_one_registry() {
    expect_none(&lock::check(&House::read().text("Cargo.lock")));
}
