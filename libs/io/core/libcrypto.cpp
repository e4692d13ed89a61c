#include "io/core/libcrypto.hpp"

#include <dlfcn.h>

#include <string>

#include "io/core/error.hpp"

namespace wsp {
namespace {

class Libcrypto {
 public:
  // Never closed: digests may be taken until the process ends.
  static const Libcrypto& loaded() {
    static const Libcrypto library;
    return library;
  }
  template <class Signature>
  Signature* symbol(const char* name) const {
    void* address = ::dlsym(handle_, name);
    if (address == nullptr)
      throw Error(ErrorCode::failure, std::string("this machine's libcrypto has no ") + name +
                                          ": install OpenSSL 1.1 or 3");
    return reinterpret_cast<Signature*>(address);
  }

 private:
  Libcrypto() {
    for (const char* name : {"libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so"})
      if ((handle_ = ::dlopen(name, RTLD_NOW | RTLD_LOCAL)) != nullptr) return;
    throw Error(
        ErrorCode::failure,
        "no libcrypto on this machine, which SHA-256 is taken from: install OpenSSL's library "
        "(Debian: libssl3), or build with its headers (libssl-dev)");
  }
  void* handle_ = nullptr;
};

// The function of that name, looked up once.
#define WSP_CRYPTO(name) static auto* const call = Libcrypto::loaded().symbol<decltype(name)>(#name)

}  // namespace

EVP_MD_CTX* EVP_MD_CTX_new() {
  WSP_CRYPTO(EVP_MD_CTX_new);
  return call();
}
void EVP_MD_CTX_free(EVP_MD_CTX* context) {
  WSP_CRYPTO(EVP_MD_CTX_free);
  call(context);
}
const EVP_MD* EVP_sha256() {
  WSP_CRYPTO(EVP_sha256);
  return call();
}
int EVP_DigestInit_ex(EVP_MD_CTX* context, const EVP_MD* type, void* engine) {
  WSP_CRYPTO(EVP_DigestInit_ex);
  return call(context, type, engine);
}
int EVP_DigestUpdate(EVP_MD_CTX* context, const void* data, std::size_t bytes) {
  WSP_CRYPTO(EVP_DigestUpdate);
  return call(context, data, bytes);
}
int EVP_DigestFinal_ex(EVP_MD_CTX* context, unsigned char* digest, unsigned int* length) {
  WSP_CRYPTO(EVP_DigestFinal_ex);
  return call(context, digest, length);
}
unsigned char* HMAC(const EVP_MD* type, const void* key, int key_length, const unsigned char* data,
                    std::size_t bytes, unsigned char* digest, unsigned int* length) {
  WSP_CRYPTO(HMAC);
  return call(type, key, key_length, data, bytes, digest, length);
}

}  // namespace wsp
