#pragma once

/// WSP_VECTOR_CLONES("avx2", "default"): compile a function once per instruction set and choose at
/// load time. Sanitizers and other compilers or machines get the plain function: an ifunc resolver
/// runs before a sanitizer's runtime is up.
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WSP_VECTOR_CLONES(...) __attribute__((target_clones(__VA_ARGS__)))
#else
#define WSP_VECTOR_CLONES(...)
#endif
