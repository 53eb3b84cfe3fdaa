/* One pass over content as it arrives: end of data, bare CR, LF and NUL, dots at the start of a line.
 *
 * content.py says what the numbers mean and has the same two functions in Python; tests hold both to the same
 * answers. Line by line: memchr finds the next CR and makes sure that no LF stands before it. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { WITHIN, AFTER_CR, LINE_START, AFTER_DOT, AFTER_DOT_CR };
enum { BARE = 1, EIGHT_BIT = 2, LONE_DOT = 4 };

typedef struct {
    Py_ssize_t end; /* where the octets behind the final dot begin; -1: it has not come */
    int state, seen;
    Py_ssize_t dots;
} Scan;

static int has_8bit(const unsigned char *p, const unsigned char *stop) {
    uint64_t all = 0, word;
    for (; stop - p >= 8; p += 8) {
        memcpy(&word, p, 8);
        all |= word;
    }
    for (; p < stop; p++) all |= *p;
    return (all & UINT64_C(0x8080808080808080)) != 0;
}

/* is_plain: octets of a BDAT chunk. No dot has a meaning there; those at the start of a line are counted. */
static void run(Scan *s, const unsigned char *base, const unsigned char *p, const unsigned char *stop, int is_plain) {
    const unsigned char *begin = p;
    while (p < stop) {
        switch (s->state) {
        case LINE_START:
            if (*p == '.') {
                p++;
                if (is_plain) { s->dots++; s->state = WITHIN; } else s->state = AFTER_DOT;
                break;
            } /* fall through */
        case WITHIN: {
            const unsigned char *cr = memchr(p, '\r', (size_t)(stop - p));
            const unsigned char *line_stop = cr ? cr : stop;
            if (memchr(p, '\n', (size_t)(line_stop - p))) s->seen |= BARE;
            s->state = cr ? AFTER_CR : WITHIN;
            p = cr ? cr + 1 : stop;
            break;
        }
        case AFTER_CR:
            if (*p == '\n') { s->state = LINE_START; p++; }
            else { s->seen |= BARE; if (*p == '\r') p++; else s->state = WITHIN; }
            break;
        case AFTER_DOT:
            if (*p == '\r') { s->state = AFTER_DOT_CR; p++; }
            else if (*p == '.') { s->dots++; s->state = WITHIN; p++; }
            else { s->seen |= LONE_DOT; s->state = WITHIN; }
            break;
        case AFTER_DOT_CR:
            if (*p == '\n') { s->end = p + 1 - base; stop = p + 1; p = stop; }
            else { s->seen |= BARE | LONE_DOT; s->state = AFTER_CR; }
            break;
        }
    }
    if (stop > begin && memchr(begin, 0, (size_t)(stop - begin))) s->seen |= BARE;
    if (has_8bit(begin, stop)) s->seen |= EIGHT_BIT;
}

static PyObject *scan(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    (void)self;
    if (count != 3 || !PyBytes_Check(args[0])) return PyErr_Format(PyExc_TypeError, "scan(data, start, state)");
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), size = PyBytes_GET_SIZE(args[0]);
    Scan s = {-1, (int)PyLong_AsLong(args[2]), 0, 0};
    if (PyErr_Occurred()) return NULL;
    if (start < 0 || start > size) return PyErr_Format(PyExc_ValueError, "start is not within the data");
    const unsigned char *p = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    run(&s, p, p + start, p + size, 0);
    return Py_BuildValue("nnin", s.end, (Py_ssize_t)(s.end < 0 ? s.state : LINE_START), s.seen, s.dots);
}

static PyObject *scan_plain(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    (void)self;
    if (count != 2 || !PyBytes_Check(args[0])) return PyErr_Format(PyExc_TypeError, "scan_plain(data, state)");
    Scan s = {-1, (int)PyLong_AsLong(args[1]), 0, 0};
    if (PyErr_Occurred()) return NULL;
    const unsigned char *p = (const unsigned char *)PyBytes_AS_STRING(args[0]);
    run(&s, p, p, p + PyBytes_GET_SIZE(args[0]), 1);
    return Py_BuildValue("iin", s.state, s.seen, s.dots);
}

static PyMethodDef methods[] = {
    {"scan", (PyCFunction)(void (*)(void))scan, METH_FASTCALL, "scan(data, start, state) -> (end, state, seen, dots)"},
    {"scan_plain", (PyCFunction)(void (*)(void))scan_plain, METH_FASTCALL, "scan_plain(data, state) -> (state, seen, dots)"},
    {NULL, NULL, 0, NULL}};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_scan", "The compiled half of content.py.", -1, methods,
                                    NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__scan(void) { return PyModule_Create(&module); }
