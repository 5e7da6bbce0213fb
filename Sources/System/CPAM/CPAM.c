// SPDX-License-Identifier: Apache-2.0
// Copyright the Portcullis authors
#include "CPAM.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/time.h>
#include <unistd.h>

struct portcullis_pam {
    pam_handle_t *handle;
    /// The password while `pam_authenticate` runs, else NULL.
    const char *password;
    /// Whether the password was given: a second question is another one.
    int answered;
    /// Prompts that were refused.
    int refused;
    /// The last step's code, for pam_end.
    int status;
};

static void answers_free(struct pam_response *answers, int count) {
    for (int index = 0; index < count; index++) {
        if (answers[index].resp == NULL) continue;
        explicit_bzero(answers[index].resp, strlen(answers[index].resp));
        free(answers[index].resp);
    }
    free(answers);
}

/// A prompt of the locale in which sessions run, which is C: "Password: ", "LDAP Password:" and the like. A module
/// that asks for a one-time code without echo must not be handed the password instead.
static int asks_for_password(const char *prompt) {
    return prompt != NULL && strcasestr(prompt, "password") != NULL;
}

static int converse(int count, const struct pam_message **messages, struct pam_response **responses, void *context) {
    struct portcullis_pam *pam = context;
    if (pam == NULL || count <= 0 || count > PAM_MAX_NUM_MSG) return PAM_CONV_ERR;
    struct pam_response *answers = calloc((size_t)count, sizeof *answers);
    if (answers == NULL) return PAM_BUF_ERR;
    for (int index = 0; index < count; index++) {
        // Linux-PAM hands over an array of pointers, unlike Solaris.
        const struct pam_message *message = messages[index];
        switch (message->msg_style) {
        case PAM_TEXT_INFO:
        case PAM_ERROR_MSG:
            // The protocols have nowhere to show it, and a module's text is no part of a record.
            continue;
        case PAM_PROMPT_ECHO_OFF:
            if (pam->password != NULL && !pam->answered && asks_for_password(message->msg)) {
                answers[index].resp = strdup(pam->password);
                if (answers[index].resp == NULL) {
                    answers_free(answers, count);
                    return PAM_BUF_ERR;
                }
                pam->answered = 1;
                continue;
            }
            break;
        default:
            break;
        }
        pam->refused++;
        answers_free(answers, count);
        return PAM_CONV_ERR;
    }
    *responses = answers;
    return PAM_SUCCESS;
}

/// The delay after a failure is the gateway's, the same for every reason: libpam must not sleep.
static void no_delay(int status, unsigned delay, void *context) {
    (void)status;
    (void)delay;
    (void)context;
}

int portcullis_pam_start(const char *service, const char *user, const char *remote_host, const char *remote_user,
                         const char *terminal, struct portcullis_pam **made) {
    *made = NULL;
    struct portcullis_pam *pam = calloc(1, sizeof *pam);
    if (pam == NULL) return PAM_BUF_ERR;
    // libpam copies the structure.
    struct pam_conv conversation = {converse, pam};
    int code = pam_start(service, user, &conversation, &pam->handle);
    if (code != PAM_SUCCESS) {
        free(pam);
        return code;
    }
    void (*delay)(int, unsigned, void *) = no_delay;
    code = pam_set_item(pam->handle, PAM_FAIL_DELAY, (const void *)delay);
    if (code == PAM_SUCCESS) code = pam_set_item(pam->handle, PAM_RHOST, remote_host);
    if (code == PAM_SUCCESS && remote_user != NULL) code = pam_set_item(pam->handle, PAM_RUSER, remote_user);
    if (code == PAM_SUCCESS) code = pam_set_item(pam->handle, PAM_TTY, terminal);
    pam->status = code;
    if (code != PAM_SUCCESS) {
        portcullis_pam_end(pam);
        return code;
    }
    *made = pam;
    return PAM_SUCCESS;
}

int portcullis_pam_authenticate(struct portcullis_pam *pam, const char *password) {
    pam->password = password;
    pam->status = pam_authenticate(pam->handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    pam->password = NULL;
    return pam->status;
}

int portcullis_pam_account(struct portcullis_pam *pam) {
    pam->status = pam_acct_mgmt(pam->handle, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
    return pam->status;
}

int portcullis_pam_credentials_establish(struct portcullis_pam *pam) {
    pam->status = pam_setcred(pam->handle, PAM_SILENT | PAM_ESTABLISH_CRED);
    return pam->status;
}

int portcullis_pam_credentials_delete(struct portcullis_pam *pam) {
    pam->status = pam_setcred(pam->handle, PAM_SILENT | PAM_DELETE_CRED);
    return pam->status;
}

int portcullis_pam_session_open(struct portcullis_pam *pam) {
    pam->status = pam_open_session(pam->handle, PAM_SILENT);
    return pam->status;
}

int portcullis_pam_session_close(struct portcullis_pam *pam) {
    pam->status = pam_close_session(pam->handle, PAM_SILENT);
    return pam->status;
}

const char *portcullis_pam_user(struct portcullis_pam *pam) {
    const void *user = NULL;
    if (pam_get_item(pam->handle, PAM_USER, &user) != PAM_SUCCESS) return NULL;
    return user;
}

int portcullis_pam_refused(const struct portcullis_pam *pam) {
    return pam->refused;
}

const char *portcullis_pam_text(int code) {
    // Linux-PAM does not look at the handle.
    const char *text = pam_strerror(NULL, code);
    return text != NULL ? text : "unknown PAM code";
}

int portcullis_pam_ids_read(unsigned ids[8]) {
    if (getresuid(&ids[0], &ids[1], &ids[2]) != 0) return errno;
    if (getresgid(&ids[3], &ids[4], &ids[5]) != 0) return errno;
    // An id that nobody can have changes nothing, and the answer is the one in force.
    ids[6] = (unsigned)setfsuid((uid_t)-1);
    ids[7] = (unsigned)setfsgid((gid_t)-1);
    return 0;
}

char **portcullis_environment_copy(void) {
    size_t count = 0;
    while (environ != NULL && environ[count] != NULL) count++;
    char **copy = calloc(count + 1, sizeof *copy);
    for (size_t index = 0; copy != NULL && index < count; index++) {
        copy[index] = strdup(environ[index]);
        if (copy[index] == NULL) {
            portcullis_pam_environment_free(copy);
            return NULL;
        }
    }
    return copy;
}

int portcullis_environment_restore(char *const *copy) {
    size_t index = 0;
    while (environ != NULL && environ[index] != NULL && copy[index] != NULL && strcmp(environ[index], copy[index]) == 0)
        index++;
    if (copy[index] == NULL && (environ == NULL || environ[index] == NULL)) return 0;
    if (clearenv() != 0) return ENOMEM;
    for (; *copy != NULL; copy++) {
        // The environment keeps the string, and a module may write into it: it gets one of its own.
        char *entry = strdup(*copy);
        if (entry == NULL || putenv(entry) != 0) return ENOMEM;
    }
    return 0;
}

void portcullis_timers_stop(void) {
    const struct itimerval none = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &none, NULL);
    setitimer(ITIMER_VIRTUAL, &none, NULL);
    setitimer(ITIMER_PROF, &none, NULL);
}

char **portcullis_pam_environment(struct portcullis_pam *pam) {
    return pam_getenvlist(pam->handle);
}

void portcullis_pam_environment_free(char **list) {
    for (char **entry = list; *entry != NULL; entry++) {
        explicit_bzero(*entry, strlen(*entry));
        free(*entry);
    }
    free(list);
}

void portcullis_pam_end(struct portcullis_pam *pam) {
    pam_end(pam->handle, pam->status);
    free(pam);
}
