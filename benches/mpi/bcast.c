/* The plain way to bring a file to all ranks, for comparison: rank 0 reads it, MPI_Bcast brings it to
 * everyone, and every other rank hashes it (SHA-1) and writes it to DIR/RANK/file, synced.
 *
 *     mpirun -np 8 bcast FILE DIR CHUNK_BYTES
 *
 * CHUNK_BYTES 0: the whole file in one broadcast, then the hash, then the write. Otherwise broadcast,
 * hash and write go chunk by chunk, so that a chunk is hashed and written while it is in the cache.
 * Rank 0 prints the seconds from before the first broadcast until everyone is done; of a whole file
 * also those until everyone has it in memory, in front. */
#include <fcntl.h>
#include <mpi.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void fail(const char *what) {
    perror(what);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

static void whole(int out, const char *bytes, long long left) {
    while (left > 0) {
        ssize_t done = write(out, bytes, left > (1 << 30) ? 1 << 30 : left);
        if (done < 0) fail("write");
        bytes += done;
        left -= done;
    }
}

int main(int count, char **words) {
    MPI_Init(&count, &words);
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (count != 4) {
        if (rank == 0) fprintf(stderr, "usage: bcast FILE DIR CHUNK_BYTES\n");
        MPI_Abort(MPI_COMM_WORLD, 2);
    }
    long long length = 0, chunk = atoll(words[3]);
    char *bytes = NULL;
    double start = MPI_Wtime();
    int in = -1, out = -1;
    if (rank == 0) {
        struct stat found;
        in = open(words[1], O_RDONLY);
        if (in < 0 || fstat(in, &found) < 0) fail(words[1]);
        length = found.st_size;
    } else {
        char path[4096];
        snprintf(path, sizeof path, "%s/%d", words[2], rank);
        mkdir(path, 0777);
        snprintf(path, sizeof path, "%s/%d/file", words[2], rank);
        out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (out < 0) fail(path);
    }
    MPI_Bcast(&length, 1, MPI_LONG_LONG, 0, MPI_COMM_WORLD);
    if (chunk == 0) chunk = length;
    bytes = malloc(chunk);
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    EVP_DigestInit_ex(hash, EVP_sha1(), NULL);
    for (long long at = 0; at < length; at += chunk) {
        long long here = length - at < chunk ? length - at : chunk;
        if (rank == 0)
            for (long long got = 0; got < here;) {
                ssize_t done = read(in, bytes + got, here - got);
                if (done <= 0) fail("read");
                got += done;
            }
        MPI_Bcast(bytes, (int)here, MPI_BYTE, 0, MPI_COMM_WORLD);
        if (chunk == length) {
            MPI_Barrier(MPI_COMM_WORLD);
            if (rank == 0) printf("%.3f ", MPI_Wtime() - start);
        }
        if (rank != 0) {
            EVP_DigestUpdate(hash, bytes, here);
            whole(out, bytes, here);
        }
    }
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_DigestFinal_ex(hash, digest, NULL);
    if (out >= 0 && (fsync(out) < 0 || close(out) < 0)) fail("fsync");
    MPI_Barrier(MPI_COMM_WORLD);
    if (rank == 0) printf("%.3f\n", MPI_Wtime() - start);
    MPI_Finalize();
    return 0;
}
