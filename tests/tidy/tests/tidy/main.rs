//! The house rules that a compiler does not know, as tests. Each failure is a line
//! `file:line: what is wrong; what to do`. ARCHITECTURE.md and STYLE.md have the reasons.

mod allow_list;
mod bans;
mod circles;
mod columns;
mod documents;
mod edges;
mod house;
mod limits;
mod lock;
mod macros;
mod manifest;
mod modules;
mod names;
mod pages;
mod parts;
mod paths;
mod scan;
#[cfg(test)]
mod tests;

use house::House;
use scan::Source;

/// Fails with all complaints, a line each.
fn expect_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn edges_point_down() {
    expect_none(&edges::check(&House::get().crates));
}

#[test]
fn dependencies_below_the_services_are_on_the_list() {
    expect_none(&edges::check_allowed(&House::get().crates));
}

#[test]
fn sockets_and_keys_have_their_crates() {
    expect_none(&edges::check_reserved(&House::get().crates));
}

#[test]
fn features_for_tests_are_in_no_program() {
    expect_none(&edges::check_test_features(&House::get().crates));
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    expect_none(&edges::check_lints(&House::get().crates));
}

#[test]
fn no_io_clock_thread_lock_or_hash_order_where_it_only_computes() {
    let house = House::get();
    let all = house.sources.iter().filter(|source| source.is_pure() && !source.is_test());
    let complaints: Vec<String> = all.flat_map(bans::check_pure).collect();
    expect_none(&complaints);
}

#[test]
fn files_are_opened_by_name_in_one_place() {
    let house = House::get();
    let all = house.sources.iter().filter(|source| !source.is_test());
    let complaints: Vec<String> = all.flat_map(bans::check_opens).collect();
    expect_none(&complaints);
}

#[test]
fn no_float_decides_in_the_engine_or_orders_a_virtual_network() {
    let house = House::get();
    let decides = |source: &&Source| source.is_engine() || source.is_simnet();
    let all = house.sources.iter().filter(decides).filter(|source| !source.is_test());
    let complaints: Vec<String> = all.flat_map(bans::check_floats).collect();
    expect_none(&complaints);
}

#[test]
fn unsafe_stays_where_it_may_be() {
    let house = House::get();
    let complaints: Vec<String> = house.sources.iter().flat_map(bans::check_unsafe).collect();
    expect_none(&complaints);
}

#[test]
fn unsafe_code_is_listed() {
    expect_none(&pages::check_unsafe(House::get()));
}

#[test]
fn what_the_threat_model_names_is_there() {
    expect_none(&pages::check_threats(House::get()));
}

#[test]
fn words_of_the_vocabulary_have_their_files() {
    expect_none(&pages::check_vocabulary(House::get()));
}

#[test]
fn files_of_the_plan_of_the_house_are_there() {
    expect_none(&pages::check_architecture(House::get()));
}

#[test]
fn files_of_the_recipes_are_there() {
    expect_none(&pages::check_recipes(House::get()));
}

#[test]
fn budgets_are_within_the_whole() {
    expect_none(&documents::check_budgets(&House::get().text("docs/testing.md")));
}

#[test]
fn texts_go_out_through_one_place() {
    let house = House::get();
    let complaints: Vec<String> = house.sources.iter().flat_map(bans::check_streams).collect();
    expect_none(&complaints);
}

#[test]
fn files_are_short() {
    let house = House::get();
    let complaints: Vec<String> = house.sources.iter().filter_map(bans::check_length).collect();
    expect_none(&complaints);
}

#[test]
fn modules_that_a_macro_declares_are_formatted() {
    expect_none(&macros::check_format(House::get()));
}

#[test]
fn the_classic_client_is_read_in_an_evening() {
    let house = House::get();
    let text = |source: &Source| house.text(&source.path).lines().count();
    let files = house.sources.iter().map(|source| (source.path.as_str(), text(source)));
    expect_none(&bans::check_evening(files));
}

#[test]
fn every_dependency_has_its_row() {
    expect_none(&documents::check_dependency_rows(House::get()));
}

#[test]
fn every_bound_has_its_row() {
    expect_none(&limits::check(House::get()));
}

#[test]
fn every_library_says_what_it_is() {
    expect_none(&documents::check_crate_docs(House::get()));
}

#[test]
fn texts_name_no_machine_and_no_registry() {
    expect_none(&documents::check_texts(House::get()));
}

#[test]
fn links_between_documents_lead_somewhere() {
    expect_none(&documents::check_links(House::get()));
}

#[test]
fn every_fuzz_target_has_a_corpus_and_a_replay() {
    expect_none(&documents::check_fuzz(House::get()));
}

#[test]
fn the_lock_file_has_one_provider_and_one_registry() {
    expect_none(&lock::check(&House::get().text("Cargo.lock")));
}

/// Complaints of a rule for each crate that its row of the allow list does not cover.
fn by_crate(rule: &str, check: impl Fn(&str, &[modules::Modules]) -> Vec<String>) -> Vec<String> {
    let house = House::get();
    let folders = house.crates.iter().map(|each| each.folder());
    let complaints = folders.flat_map(|folder| {
        let found = check(folder, &modules::trees(folder, &house.sources));
        allow_list::settle(rule, folder, found)
    });
    complaints.collect()
}

#[test]
fn imports_go_in_no_circle() {
    expect_none(&by_crate("circles", |_, trees| trees.iter().flat_map(circles::check).collect()));
}

#[test]
fn parts_of_the_engine_share_the_core_only() {
    expect_none(&by_crate("parts", |folder, trees| {
        let engine = trees.iter().filter(|_| folder == "engine");
        engine.flat_map(parts::check_edges).collect()
    }));
}

#[test]
fn the_core_does_not_know_its_world() {
    let house = House::get();
    let found = house.sources.iter().flat_map(parts::check_worlds).collect();
    expect_none(&allow_list::settle("worlds", "engine", found));
}

#[test]
fn one_name_is_one_type() {
    expect_none(&by_crate("names", names::check));
}

#[test]
fn pages_comments_and_code_have_one_width() {
    let house = House::get();
    let check = |(path, text): (&str, &str)| match path.rsplit_once('.') {
        Some((_, "md")) => columns::check_page(path, text),
        Some((_, "rs")) => columns::check_source(path, text),
        _ => Vec::new(),
    };
    let complaints: Vec<String> = house.texts().flat_map(check).collect();
    expect_none(&complaints);
}
