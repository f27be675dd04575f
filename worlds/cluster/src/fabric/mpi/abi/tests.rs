//! The table against itself, and against the headers of the libraries: a C program that a library's
//! own compiler has compiled prints every number.

use super::*;
use std::collections::BTreeMap;
use std::process::Command;

/// Every row of the table: its name here, what it is in C, and its value as the program prints it.
fn rows(abi: &Abi) -> Vec<(&'static str, String, String)> {
    let handles = [
        ("comm_world", "MPI_COMM_WORLD", abi.comm_world),
        ("comm_self", "MPI_COMM_SELF", abi.comm_self),
        ("comm_null", "MPI_COMM_NULL", abi.comm_null),
        ("byte", "MPI_BYTE", abi.byte),
        ("request_null", "MPI_REQUEST_NULL", abi.request_null),
        ("errors_return", "MPI_ERRORS_RETURN", abi.errors_return),
    ];
    let numbers = [
        ("any_source", "MPI_ANY_SOURCE", abi.any_source),
        ("undefined", "MPI_UNDEFINED", abi.undefined),
        ("thread_funneled", "MPI_THREAD_FUNNELED", abi.thread_funneled),
        ("tag_ub", "MPI_TAG_UB", abi.tag_ub),
        ("err_count", "MPI_ERR_COUNT", abi.err_count),
        ("err_tag", "MPI_ERR_TAG", abi.err_tag),
        ("err_rank", "MPI_ERR_RANK", abi.err_rank),
        ("err_in_status", "MPI_ERR_IN_STATUS", abi.err_in_status),
        ("err_other", "MPI_ERR_OTHER", abi.err_other),
        ("SUCCESS", "MPI_SUCCESS", SUCCESS),
    ];
    let sizes = [
        ("request_stride", "sizeof(MPI_Request)", abi.request_stride),
        ("status_stride", "sizeof(MPI_Status)", abi.status_stride),
        ("status_source", "offsetof(MPI_Status, MPI_SOURCE)", abi.status_source),
        ("status_error", "offsetof(MPI_Status, MPI_ERROR)", abi.status_error),
        ("source", "sizeof(((MPI_Status *)0)->MPI_SOURCE)", size_of::<i32>()),
        ("max_error_string", "MPI_MAX_ERROR_STRING", abi.max_error_string),
        // All kinds of handles are taken to be alike.
        ("comm", "sizeof(MPI_Comm)", abi.request_stride),
        ("datatype", "sizeof(MPI_Datatype)", abi.request_stride),
        ("errhandler", "sizeof(MPI_Errhandler)", abi.request_stride),
    ];
    let handle = |(name, c, fixed)| match fixed {
        Fixed::Symbol(symbol) => {
            (name, format!("named(\"{symbol}\", (void *){c})"), "1".to_owned())
        }
        Fixed::Value(value) => (name, format!("(uintptr_t){c}"), value.to_string()),
    };
    let number = |(name, c, value): (_, &str, i32)| (name, c.to_owned(), value.to_string());
    let size = |(name, c, value): (_, &str, usize)| (name, c.to_owned(), value.to_string());
    handles.map(handle).into_iter().chain(numbers.map(number)).chain(sizes.map(size)).collect()
}

/// A program that prints a line for every row.
fn program(rows: &[(&str, String, String)]) -> String {
    let prints = rows
        .iter()
        .map(|(name, c, _)| format!("    printf(\"{name} %lld\\n\", (long long)({c}));\n"));
    format!(
        "#define _GNU_SOURCE\n#include HEADER\n#include <dlfcn.h>\n#include <stddef.h>\n\
         #include <stdint.h>\n#include <stdio.h>\n\
         int named(const char *name, void *handle) {{\n    \
         return dlsym(RTLD_DEFAULT, name) == handle;\n}}\n\
         int main(void) {{\n    printf(\"version %d\\n\", MPI_MAX_LIBRARY_VERSION_STRING);\n{}    \
         return 0;\n}}\n",
        prints.collect::<String>()
    )
}

/// Compiles the program for this table with a compiler that finds a library's header, and compares.
fn compare(abi: &Abi, compiler: &str, options: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let (source, binary) = (folder.path().join("rows.c"), folder.path().join("rows"));
    let rows = rows(abi);
    std::fs::write(&source, program(&rows)).expect("a source");
    let mut command = Command::new(compiler);
    command.arg(&source).arg("-o").arg(&binary).args(options).arg("-ldl");
    let compiled = command.output().unwrap_or_else(|error| panic!("{compiler}: {error}"));
    let complaints = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{compiler} {options:?}: {complaints}");
    let printed = Command::new(&binary).output().expect("a program");
    assert!(printed.status.success(), "{compiler}: {printed:?}");
    let printed = String::from_utf8(printed.stdout).expect("text");
    let found: BTreeMap<&str, &str> =
        printed.lines().filter_map(|line| line.split_once(' ')).collect();
    for (name, c, wanted) in &rows {
        let found = found.get(name).copied();
        assert_eq!(found, Some(wanted.as_str()), "{compiler}: {name}, {c}");
    }
    let longest = found.get("version").and_then(|len| len.parse().ok());
    assert!(longest.is_some_and(|len: usize| len <= LONGEST_VERSION), "{compiler}: {longest:?}");
    assert_eq!(found.len(), rows.len() + 1);
}

#[test]
#[ignore = "needs mpicc.openmpi; scripts/test runs it"]
fn the_table_is_what_the_header_of_open_mpi_says() {
    compare(Family::OpenMpi.abi(), "mpicc.openmpi", &["-DHEADER=<mpi.h>"]);
}

#[test]
#[ignore = "needs mpicc.mpich; scripts/test runs it"]
fn the_table_is_what_the_header_of_mpich_says() {
    compare(Family::Mpich.abi(), "mpicc.mpich", &["-DHEADER=<mpi.h>"]);
}

#[test]
#[ignore = "needs a standard mpi_abi.h, see DUNLIN_MPI_ABI_INCLUDE; scripts/test runs it"]
fn the_table_is_what_the_header_of_the_standard_says() {
    let folder = std::env::var("DUNLIN_MPI_ABI_INCLUDE");
    let folder = folder.expect("DUNLIN_MPI_ABI_INCLUDE: expected the folder of a mpi_abi.h");
    let include = format!("-I{folder}");
    compare(Family::Standard.abi(), "cc", &["-DHEADER=<mpi_abi.h>", &include]);
}

#[test]
fn the_table_hangs_together() {
    for family in [Family::OpenMpi, Family::Mpich, Family::Standard] {
        let abi = family.abi();
        let (stride, values_only) = match abi.handles {
            HandleKind::Pointer => (size_of::<*mut ()>(), false),
            HandleKind::Int => (size_of::<i32>(), true),
        };
        assert_eq!((abi.family, abi.request_stride), (family, stride));
        let is_value = |fixed: &Fixed| matches!(fixed, Fixed::Value(_));
        let handles = [abi.comm_world, abi.comm_null, abi.byte, abi.request_null, abi.comm_self];
        // An int cannot be an address.
        assert!(!values_only || handles.iter().all(is_value), "{family:?}");
        for offset in [abi.status_source, abi.status_error, abi.status_stride] {
            assert_eq!(offset % size_of::<i32>(), 0, "{family:?}");
        }
        let last = abi.status_source.max(abi.status_error);
        assert!(last + size_of::<i32>() <= abi.status_stride, "{family:?}");
        assert!(abi.status_source != abi.status_error, "{family:?}");
    }
}
