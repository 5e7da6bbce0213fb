// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#include "CCrypt.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int portcullis_hash_make(const char *password, const char *setting, char *hash) {
    struct crypt_data *data = calloc(1, sizeof *data);
    if (data == NULL) return ENOMEM;
    errno = 0;
    // crypt_rn, unlike crypt_r, returns NULL and no token where it fails.
    const char *made = crypt_rn(password, setting, data, sizeof *data);
    int code = 0;
    if (made == NULL) {
        code = errno != 0 ? errno : EINVAL;
    } else {
        size_t length = strnlen(made, PORTCULLIS_HASH_SIZE);
        if (length >= PORTCULLIS_HASH_SIZE || made[0] == '*') {
            code = EINVAL;
        } else {
            memcpy(hash, made, length + 1);
        }
    }
    explicit_bzero(data, sizeof *data);
    free(data);
    return code;
}

int portcullis_hash_setting(char *setting) {
    // A count of 0 is the method's default cost; no random bytes given: crypt takes them from the kernel.
    const char *made = crypt_gensalt_rn("$y$", 0, NULL, 0, setting, CRYPT_GENSALT_OUTPUT_SIZE);
    if (made == NULL) return errno != 0 ? errno : EINVAL;
    return 0;
}

int portcullis_hash_is_sound(const char *hash) {
    return crypt_checksalt(hash) == CRYPT_SALT_OK;
}
