/* What tests with files share: a folder to work in, a text of eight letters, damage. */
static const char *folder = ".";

const char *in(const char *name);
const char *in(const char *name) {
  static char path[1024];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}
#define PATH(name) in(name), strlen(in(name))

bnn_corpus *letters(const char *of);
bnn_corpus *letters(const char *of) {
  static char text[1201];
  bnn_corpus *c = NULL;
  for (int i = 0; i < 1200; ++i) text[i] = of[(i * i / 3 + i) % 8];
  OK(bnn_corpus_from_text(text, 1200, &c, &err));
  return c;
}

/* Changes one bit near a file's end; a second time mends it. */
void damage(const char *path);
void damage(const char *path) {
  FILE *f = fopen(path, "r+b");
  HOLDS(f != NULL);
  if (!f) return;
  fseek(f, -40, SEEK_END);
  int c = fgetc(f);
  fseek(f, -40, SEEK_END);
  fputc(c ^ 1, f);
  fclose(f);
}

int there(const char *path);
int there(const char *path) {
  FILE *f = fopen(path, "rb");
  if (f) fclose(f);
  return f != NULL;
}
