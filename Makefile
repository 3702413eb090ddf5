# Postern. `make help` lists what there is. A new file in lib/, cgi/, cli/ or tests/ is found by itself.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VERSION := 0.1.0
# V=1 shows whole commands.
Q := $(if $(V),,@)

# Where `make install` puts things; DESTDIR is put in front of all of it.
PREFIX ?= /usr/local
bindir ?= $(PREFIX)/bin
libexecdir ?= $(PREFIX)/libexec
datadir ?= $(PREFIX)/share
mandir ?= $(datadir)/man
sysconfdir ?= /etc
# Where the installed snippets look for the binaries' sockets (the setting socket_dir).
SOCKETS ?= /run/postern
# The web server's group: who may connect to them.
WEB_GROUP ?= www-data
unitdir ?= $(PREFIX)/lib/systemd/system
sysusersdir ?= $(PREFIX)/lib/sysusers.d
tmpfilesdir ?= $(PREFIX)/lib/tmpfiles.d
docdir ?= $(datadir)/doc/postern
bashcompdir ?= $(datadir)/bash-completion/completions
zshcompdir ?= $(datadir)/zsh/site-functions
fishcompdir ?= $(datadir)/fish/vendor_completions.d

# SANITIZE=address,undefined and COVERAGE=1 are builds of their own, beside the ordinary one.
ifneq ($(SANITIZE),)
BUILD ?= build-asan
OPTIMISE := -O1 -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=undefined
HARDEN :=
else ifneq ($(COVERAGE),)
BUILD ?= build-coverage
OPTIMISE := -O0 --coverage -fprofile-update=atomic
HARDEN :=
else
BUILD ?= build
OPTIMISE := -O2
HARDEN := -D_FORTIFY_SOURCE=2 -fstack-protector-strong
endif
export POSTERN_BUILD := $(BUILD)
# What runs beside the private stack (scripts/parts): make run PARTS=mail,…
export PARTS

CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
PKGS := libpq json-c libcrypto uuid libidn2 libpsl
WARN := -Wall -Wextra -Wshadow -Wformat=2 -Wno-missing-field-initializers
DEFINES := -D_GNU_SOURCE -DPOSTERN_VERSION='"$(VERSION)"' -DPOSTERN_DATADIR='"$(datadir)/postern"' \
	-DPOSTERN_LIBEXECDIR='"$(libexecdir)/postern"' -DPOSTERN_BINDIR='"$(bindir)"'
CPPFLAGS_ALL = -Ilib -Iworker -I$(BUILD) $(DEFINES) $(shell pkg-config --cflags $(PKGS)) $(CPPFLAGS)
CFLAGS_ALL = -std=c11 -g $(OPTIMISE) $(HARDEN) $(WARN) -fPIE -pthread $(CFLAGS)
LDFLAGS_ALL = $(OPTIMISE) -pie -pthread -Wl,-z,relro,-z,now,--as-needed $(LDFLAGS)
LIBS = -lfcgi -lcrypt -lresolv $(shell pkg-config --libs $(PKGS))
ASK_LIBS = $(shell pkg-config --libs libcurl) # doctor and posternd ask the web server

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
LIB := $(BUILD)/lib/libpostern.a
LIB_SRC := $(wildcard lib/*.c)
CGI_SRC := $(wildcard cgi/*.c)
CLI_SRC := $(wildcard cli/*.c)
WORKER_SRC := $(wildcard worker/*.c worker/actions/*.c)
UNIT_SRC := $(wildcard tests/unit/test_*.c)
API_TESTS := $(wildcard tests/api/*.test.mjs tests/cli/*.test.mjs tests/sql/*.test.mjs tests/install/*.test.mjs tests/bench/*.test.mjs \
	tests/parts/*.test.mjs tests/walls/*.test.mjs)
# The same suite through Apache: all but what is about one web server's own configuration, or about none.
APACHE_TESTS := $(filter-out $(patsubst %,tests/api/%.test.mjs,apache doctor dropin import import-apache panel),$(wildcard tests/api/*.test.mjs))
# What the API tests asked and got is kept for those that hold it against the API's description.
DESCRIPTION_TESTS := $(wildcard tests/description/*.test.mjs)
EXCHANGES := $(CURDIR)/$(BUILD)/test/exchanges
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
CGI := $(CGI_SRC:cgi/%.c=$(BUILD)/cgi/%)
CLI := $(if $(CLI_SRC),$(BUILD)/cli/postern)
WORKER := $(if $(WORKER_SRC),$(BUILD)/worker/posternd)
UNIT := $(UNIT_SRC:tests/unit/%.c=$(BUILD)/tests/unit/%)
NGINX := $(if $(CLI_SRC),$(BUILD)/nginx/postern-server.conf $(BUILD)/nginx/postern-server-v1.conf)
MAN := $(wildcard docs/*.[158])
# Swagger UI as npm gives it: in a tarball of `make dist`, or fetched by `make deps`.
SWAGGER_UI := $(firstword $(wildcard web/swagger-ui node_modules/swagger-ui-dist))
SWAGGER_UI_FILES := swagger-ui.css swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt favicon-32x32.png LICENSE NOTICE package.json

.PHONY: help deps all run start stop test unit lint soak check-asan check-valgrind coverage fuzz bench bench-check \
	install install-files uninstall dist deb test-install clean FORCE
.DELETE_ON_ERROR:
.SECONDARY:

help: ## This list
	@echo 'Postern $(VERSION). make TARGET, with TARGET one of:'
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 18
	@echo 'Variables: PREFIX DESTDIR CC CFLAGS BUILD SANITIZE=address,undefined COVERAGE=1 PORT RUN WEB=apache FUZZ_S V=1'
	@echo 'run, start: PARTS=a,b starts more beside it, of $(notdir $(wildcard scripts/parts/*))'

deps: ## Install the Debian 12 packages that are missing (nothing is started or removed); fetch Swagger UI
	@scripts/deps test

all: $(LIB) $(CGI) $(CLI) $(WORKER) $(NGINX) $(BUILD)/web/index.html ## Build library, endpoint binaries, CLI, worker and web server snippets

run: ## Install, build and run a private stack below run/ until Ctrl-C
	@scripts/deps run
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@scripts/stack run

start: ## The same in the background
	@scripts/deps run
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@scripts/stack start

stop: ## Stop what `make start` started
	@scripts/stack stop

test: ## Run every test (installs and builds first)
	@scripts/deps test
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@$(MAKE) --no-print-directory lint unit
	@rm -rf $(EXCHANGES) && mkdir -p $(EXCHANGES) && $(CLI) openapi > $(EXCHANGES)/openapi.json && \
		$(CLI) openapi --dialect plain > $(EXCHANGES)/plain.json
	RECORD=$(EXCHANGES) node --test --test-concurrency=2 $(API_TESTS)
	RECORD=$(EXCHANGES) node --test $(DESCRIPTION_TESTS)
	WEB=apache node --test --test-concurrency=2 $(APACHE_TESTS)

unit: $(UNIT) ## Run the unit tests only
	@for t in $(UNIT); do echo "== $$t"; $(WRAP) $$t || exit 1; done

soak: ## The API tests with long runs
	@scripts/deps test
	@$(MAKE) --no-print-directory -j$$(nproc) all
	SOAK=1 node --test $(API_TESTS)

lint: ## Banned calls, leftovers, and both compilers with warnings as errors
	@scripts/deps lint
	@tests/lint/run
	@for cc in gcc clang; do echo "lint: $$cc"; \
		for f in $(LIB_SRC) $(CGI_SRC) $(CLI_SRC) $(WORKER_SRC) $(UNIT_SRC) $(FUZZ_SRC) $(wildcard tests/bench/*.c); do \
			$$cc -fsyntax-only -Werror -O0 -std=c11 $(WARN) $(CPPFLAGS_ALL) $$f || exit 1; done; done

check-asan: ## Every test against binaries built with ASan and UBSan
	@scripts/deps test
	@$(MAKE) --no-print-directory -j$$(nproc) SANITIZE=address,undefined BUILD=build-asan all
	@$(MAKE) --no-print-directory SANITIZE=address,undefined BUILD=build-asan unit
	@rm -rf build-asan/reports && mkdir -m 1777 build-asan/reports # the binaries may run as another user
	ASAN_OPTIONS=log_path=$(CURDIR)/build-asan/reports/asan UBSAN_OPTIONS=print_stacktrace=1:log_path=$(CURDIR)/build-asan/reports/ubsan \
		POSTERN_BUILD=build-asan node --test $(API_TESTS)
	@! cat build-asan/reports/* 2>/dev/null | grep . >&2

check-valgrind: ## The unit tests under valgrind
	@scripts/deps valgrind
	@$(MAKE) --no-print-directory unit WRAP='valgrind -q --leak-check=full --errors-for-leak-kinds=definite --error-exitcode=1'

coverage: ## Which lines of lib/ the tests reach (build-coverage/coverage.txt)
	@scripts/deps coverage
	@find build-coverage -name '*.gcda' -delete 2>/dev/null || true
	@$(MAKE) --no-print-directory -j$$(nproc) COVERAGE=1 BUILD=build-coverage all
	@$(MAKE) --no-print-directory COVERAGE=1 BUILD=build-coverage unit
	@chmod -R a+rwX build-coverage/obj # the binaries may run as another user
	POSTERN_BUILD=build-coverage node --test $(API_TESTS)
	@gcovr --root . --filter lib/ --object-directory build-coverage build-coverage | tee build-coverage/coverage.txt

FUZZ_S ?= 30
fuzz: ## Fuzz each tests/fuzz/fuzz_*.c for FUZZ_S seconds
	@scripts/deps fuzz
	@[ -n '$(FUZZ_SRC)' ] || { echo 'fuzz: there is nothing in tests/fuzz yet' >&2; exit 1; }
	@$(MAKE) --no-print-directory CC=clang SANITIZE=fuzzer-no-link,address,undefined BUILD=build-fuzz build-fuzz/lib/libpostern.a
	@for f in $(FUZZ_SRC:tests/fuzz/%.c=%); do \
		echo "== $$f ($(FUZZ_S) s)"; \
		clang -std=c11 -g -O1 $(WARN) $(CPPFLAGS_ALL) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
			tests/fuzz/$$f.c build-fuzz/lib/libpostern.a -pthread $(LIBS) -o build-fuzz/$$f && \
		mkdir -p build-fuzz/$$f.corpus && \
		build-fuzz/$$f -max_total_time=$(FUZZ_S) -max_len=65536 -print_final_stats=1 -artifact_prefix=build-fuzz/$$f- \
			build-fuzz/$$f.corpus $$([ ! -d tests/fuzz/corpus/$$f ] || echo tests/fuzz/corpus/$$f) || exit 1; done

bench: ## Measure beside nginx alone, an empty FastCGI answer, PHP and Node (minutes; ONLY=regex QUICK=1 ROUNDS= SECONDS=)
	@scripts/deps bench
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@mkdir -p $(BUILD)/bench/bin
	@for p in floor openloop; do \
		$(CC) -std=c11 -D_GNU_SOURCE $(OPTIMISE) $(WARN) tests/bench/$$p.c -o $(BUILD)/bench/bin/$$p -lfcgi || exit 1; done
	@BENCH_SECONDS='$(SECONDS)' node tests/bench/bench.mjs

bench-check: ## Instructions per request against tests/bench/baseline.json; UPDATE=1 accepts those of now
	@scripts/deps bench-check
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@node --test tests/bench/check.test.mjs
	@node tests/bench/check.mjs $(if $(UPDATE),--update)

install: all ## Install below PREFIX (DESTDIR is respected)
	@stage=$$(mktemp -d $(abspath $(BUILD))/stage.XXXXXX) && trap 'rm -rf "$$stage"' EXIT && \
		$(MAKE) --no-print-directory -s install-files DESTDIR="$$stage" && $(MAKE) --no-print-directory install-files && \
		scripts/manifest "$$stage" > $(DESTDIR)$(datadir)/postern/manifest

# Once into a folder of its own, which tells what was installed, and once where it goes. Two installations may run at once.
install-files:
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(libexecdir)/postern/cgi $(DESTDIR)$(datadir)/postern $(DESTDIR)$(sysconfdir)/postern
	install -m 755 $(CLI) $(DESTDIR)$(bindir)/
	install -m 755 $(CGI) $(DESTDIR)$(libexecdir)/postern/cgi/
	install -d $(DESTDIR)$(libexecdir)/postern/actions
	install -m 755 $(WORKER) $(DESTDIR)$(libexecdir)/postern/
	for k in $$($(WORKER) --kinds); do ln -sf ../posternd $(DESTDIR)$(libexecdir)/postern/actions/$$k || exit 1; done
	find sql -type f -exec install -D -m 644 {} $(DESTDIR)$(datadir)/postern/{} \;
	find mail -type f -exec install -D -m 644 {} $(DESTDIR)$(datadir)/postern/{} \;
	sed -i 's|/usr/share/postern/|$(datadir)/postern/|' $(DESTDIR)$(datadir)/postern/mail/*/*
	install -d $(DESTDIR)$(datadir)/postern/nginx $(DESTDIR)$(datadir)/postern/web/swagger-ui
	install -m 644 $(BUILD)/web/*.* $(DESTDIR)$(datadir)/postern/web/
	$(if $(SWAGGER_UI),install -m 644 $(BUILD)/web/swagger-ui/* $(DESTDIR)$(datadir)/postern/web/swagger-ui/)
	install -m 644 nginx/*.conf nginx/*.sample nginx/site.conf.in nginx/default.conf.in nginx/generation.conf.in $(DESTDIR)$(datadir)/postern/nginx/
	scripts/snippet --routes $(BUILD)/nginx/routes --dir $(datadir)/postern/nginx --sockets $(SOCKETS) \
		> $(DESTDIR)$(datadir)/postern/nginx/postern-server.conf
	scripts/snippet --routes $(BUILD)/nginx/routes --dir $(datadir)/postern/nginx --sockets $(SOCKETS) --only v1 \
		> $(DESTDIR)$(datadir)/postern/nginx/postern-server-v1.conf
	chmod 644 $(DESTDIR)$(datadir)/postern/nginx/*
	install -d $(DESTDIR)$(datadir)/postern/apache $(DESTDIR)$(datadir)/postern/tmpfiles
	install -m 644 systemd/tmpfiles/*.conf $(DESTDIR)$(datadir)/postern/tmpfiles/
	install -m 644 apache/*.conf apache/*.sample apache/*.shtml apache/site.conf.in apache/default.conf.in apache/generation.conf.in $(DESTDIR)$(datadir)/postern/apache/
	set -e; write() { scripts/snippet --routes $(BUILD)/nginx/routes --dir $(datadir)/postern/apache "$${@:2}" \
			> $(DESTDIR)$(datadir)/postern/apache/$$1; }; \
		write postern-vhost.conf --for apache --sockets $(SOCKETS); \
		write postern-vhost-v1.conf --for apache --sockets $(SOCKETS) --only v1; \
		write postern-vhost-fcgid.conf --for apache-fcgid --cgi $(libexecdir)/postern/cgi; \
		write postern-fallback.conf --for apache-fallback
	$(CLI) config --sample > $(DESTDIR)$(sysconfdir)/postern/postern.conf.sample
	for m in $(MAN); do install -D -m 644 $$m $(DESTDIR)$(mandir)/man$${m##*.}/$${m##*/} || exit 1; done
	for b in $(notdir $(CGI)); do ln -sf postern-endpoint.8 $(DESTDIR)$(mandir)/man8/postern-$$b.8 || exit 1; done
	install -d $(DESTDIR)$(docdir)/docs
	install -m 644 README.md SECURITY.md LICENSE $(DESTDIR)$(docdir)/
	install -m 644 docs/*.md $(DESTDIR)$(docdir)/docs/
	install -d $(DESTDIR)$(bashcompdir) $(DESTDIR)$(zshcompdir) $(DESTDIR)$(fishcompdir)
	$(CLI) completion bash > $(DESTDIR)$(bashcompdir)/postern
	$(CLI) completion zsh > $(DESTDIR)$(zshcompdir)/_postern
	$(CLI) completion fish > $(DESTDIR)$(fishcompdir)/postern.fish
	scripts/units --binaries $(BUILD)/cgi --libexecdir $(libexecdir) --sysconfdir $(sysconfdir) --sockets $(SOCKETS) \
		--webgroup $(WEB_GROUP) --units $(DESTDIR)$(unitdir) --sysusers $(DESTDIR)$(sysusersdir) --tmpfiles $(DESTDIR)$(tmpfilesdir)

uninstall: ## Remove what `make install` put there; postern.conf stays
	rm -f $(DESTDIR)$(bindir)/postern $(DESTDIR)$(sysconfdir)/postern/postern.conf.sample
	rm -rf $(DESTDIR)$(libexecdir)/postern $(DESTDIR)$(datadir)/postern
	for m in $(MAN); do rm -f $(DESTDIR)$(mandir)/man$${m##*.}/$${m##*/}; done
	for b in $(notdir $(CGI)); do rm -f $(DESTDIR)$(mandir)/man8/postern-$$b.8; done
	rm -f $(DESTDIR)$(bashcompdir)/postern $(DESTDIR)$(zshcompdir)/_postern $(DESTDIR)$(fishcompdir)/postern.fish
	rm -rf $(DESTDIR)$(docdir) $(DESTDIR)$(unitdir)/postern.target.wants
	rm -f $(DESTDIR)$(unitdir)/postern@.service $(DESTDIR)$(unitdir)/postern@.socket $(DESTDIR)$(unitdir)/posternd.service $(DESTDIR)$(unitdir)/postern.target
	rm -f $(DESTDIR)$(sysusersdir)/postern.conf $(DESTDIR)$(tmpfilesdir)/postern.conf
	-rmdir --ignore-fail-on-non-empty $(DESTDIR)$(sysconfdir)/postern

dist: ## dist/postern-VERSION.tar.gz from the last commit, with Swagger UI
	@[ -n '$(SWAGGER_UI)' ] || { echo 'dist: Swagger UI is missing; run make deps' >&2; exit 1; }
	@mkdir -p dist
	git archive --format=tar.gz -o dist/postern-$(VERSION).tar.gz --prefix=postern-$(VERSION)/web/swagger-ui/ \
		$(SWAGGER_UI_FILES:%=--add-file=$(SWAGGER_UI)/%) --prefix=postern-$(VERSION)/ HEAD
	@echo dist/postern-$(VERSION).tar.gz

deb: ## dist/postern_VERSION_ARCH.deb from the last commit
	@scripts/deps deb
	@$(MAKE) --no-print-directory dist
	@rm -rf dist/deb && mkdir -p dist/deb
	tar -xzf dist/postern-$(VERSION).tar.gz -C dist/deb
	cd dist/deb/postern-$(VERSION) && env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS dpkg-buildpackage -us -uc -b
	mv dist/deb/*.deb dist/deb/*.changes dist/deb/*.buildinfo dist/
	lintian --fail-on error,warning --tag-display-limit 0 dist/postern_$(VERSION)_*.changes
	@rm -rf dist/deb

test-install: ## Try the Debian package in a chroot: install, operations.md, upgrade, purge (as root; takes minutes)
	@scripts/deps chroot
	@$(MAKE) --no-print-directory deb
	tests/install/chroot dist/postern_$(VERSION)_*.deb

clean: ## Remove what was built
	rm -rf build build-asan build-coverage build-fuzz dist

# A change of flags (PREFIX, SANITIZE, CC …) rebuilds: everything depends on this file, written only when they differ.
$(BUILD)/flags: FORCE
	@mkdir -p $(BUILD)
	@flags='$(subst ','\'',$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(LDFLAGS_ALL) $(LIBS))'; \
		[ "$$flags" = "$$(cat $@ 2>/dev/null)" ] || printf '%s\n' "$$flags" > $@

# What release-audit tells of this build. A commit is named by the file COMMIT in a tarball, else by git.
$(BUILD)/built.h: $(BUILD)/flags FORCE
	@commit=$$(grep -sxE '[0-9a-f]{40}' COMMIT || git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null || true); \
		{ printf '#define POSTERN_COMMIT "%s"\n' "$$commit"; \
		printf '#define POSTERN_FLAGS "%s"\n' '$(subst ",\",$(subst ','\'',$(CFLAGS_ALL) $(LDFLAGS_ALL)))'; \
		printf '#define POSTERN_BUILT_WITH "'; for p in $(PKGS) fcgi; do printf '%s %s, ' $$p "$$(pkg-config --modversion $$p 2>/dev/null)"; done; \
		printf 'libc %s"\n' "$$(getconf GNU_LIBC_VERSION | cut -d ' ' -f 2)"; } > $@.new; \
		if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
$(BUILD)/obj/lib/release.o: $(BUILD)/built.h

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	@echo '  CC    $<'
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

# Built anew, so that a source that was removed leaves the archive too. main.o is a member: the CLI and the unit tests
# have a main() of their own and do not pull it.
$(LIB): $(call objects,$(LIB_SRC))
	@mkdir -p $(@D)
	@echo '  AR    $@'
	$(Q)rm -f $@ && ar rcs $@ $^

# They know the tables of all resources: what they tell is about all.
$(BUILD)/cgi/openapi $(BUILD)/cgi/explain: $(call objects,$(CGI_SRC))

$(BUILD)/cgi/%: $(BUILD)/obj/cgi/%.o $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(LIB) $(LIBS)

$(BUILD)/cli/postern: $(call objects,$(CLI_SRC) $(CGI_SRC)) $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) $(ASK_LIBS)

# Each kind of job is a link to it in the actions folder.
$(BUILD)/worker/posternd: $(call objects,$(WORKER_SRC)) $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS) $(ASK_LIBS)
	$(Q)rm -rf $(BUILD)/actions && mkdir -p $(BUILD)/actions
	$(Q)for k in $$($@ --kinds); do ln -s ../worker/posternd $(BUILD)/actions/$$k || exit 1; done

# The worker's parts, without its main(), its kinds, and the look at the machine, which calls some of these.
$(BUILD)/tests/unit/test_worker: $(call objects,$(filter-out worker/posternd.c worker/watch.c,$(wildcard worker/*.c)))

$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(LIB)
	@mkdir -p $(@D)
	@echo '  LD    $@'
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(filter-out %.a,$^) $(LIB) $(LIBS) $(ASK_LIBS) -lcmocka

# The page of /api/docs. Without Swagger UI it says where that comes from.
$(BUILD)/web/index.html: $(wildcard web/*.*) $(if $(SWAGGER_UI),$(SWAGGER_UI)/package.json)
	@mkdir -p $(@D)/swagger-ui
	@echo '  WEB   $(@D)'
	$(Q)cp web/*.* $(@D)/
	$(Q)$(if $(SWAGGER_UI),cp $(SWAGGER_UI_FILES:%=$(SWAGGER_UI)/%) $(@D)/swagger-ui/)
	$(Q)touch $@

$(BUILD)/nginx/routes: $(BUILD)/cli/postern
	@mkdir -p $(@D)
	$(Q)$< routes > $@

$(BUILD)/nginx/postern-server.conf: $(BUILD)/nginx/routes nginx/postern-server.conf.in scripts/snippet
	$(Q)scripts/snippet --routes $< --dir $(datadir)/postern/nginx --sockets $(SOCKETS) > $@

$(BUILD)/nginx/postern-server-v1.conf: $(BUILD)/nginx/routes nginx/postern-server.conf.in scripts/snippet
	$(Q)scripts/snippet --routes $< --dir $(datadir)/postern/nginx --sockets $(SOCKETS) --only v1 > $@

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
