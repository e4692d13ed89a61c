#pragma once
#include <cstddef>

/// What core uses of OpenSSL, for a build without its headers: the same names and signatures, which
/// libcrypto has kept from 1.1.0 to 3. The library is loaded at the first call; each throws
/// wsp::Error(failure) where there is none. Thread-safe.
namespace wsp {

struct EVP_MD;
struct EVP_MD_CTX;

EVP_MD_CTX* EVP_MD_CTX_new();
void EVP_MD_CTX_free(EVP_MD_CTX* context);
const EVP_MD* EVP_sha256();
int EVP_DigestInit_ex(EVP_MD_CTX* context, const EVP_MD* type, void* engine);
int EVP_DigestUpdate(EVP_MD_CTX* context, const void* data, std::size_t bytes);
int EVP_DigestFinal_ex(EVP_MD_CTX* context, unsigned char* digest, unsigned int* length);
unsigned char* HMAC(const EVP_MD* type, const void* key, int key_length, const unsigned char* data,
                    std::size_t bytes, unsigned char* digest, unsigned int* length);

}  // namespace wsp
