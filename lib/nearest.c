/* nearest.c: optimal string alignment distance over three rows. */
#include "nearest.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static int lower(char c)
{
	return tolower((unsigned char)c);
}

static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t rows[3][NEAREST_WORD_MAX + 1];
	size_t *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		last[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			int ca = lower(a[i - 1]), cb = lower(b[j - 1]);
			row[j] = smaller(smaller(last[j], row[j - 1]) + 1, last[j - 1] + (ca != cb));
			if (i > 1 && j > 1 && ca == lower(b[j - 2]) && lower(a[i - 2]) == cb)
				row[j] = smaller(row[j], before[j - 2] + 1);
		}
		size_t *spare = before;
		before = last;
		last = row;
		row = spare;
	}
	return last[b_len];
}

const char *nearest(const char *word, const char *const *candidates, size_t n)
{
	size_t len = strlen(word);
	if (!len || len > NEAREST_WORD_MAX)
		return NULL;
	size_t limit = smaller(len / 3 > 2 ? len / 3 : 2, len - 1);

	const char *best = NULL;
	for (size_t i = 0; i < n; i++) {
		size_t candidate_len = strlen(candidates[i]);
		if (candidate_len > NEAREST_WORD_MAX)
			continue;
		size_t d = distance(word, len, candidates[i], candidate_len);
		if (d <= limit) {
			best = candidates[i];
			if (!d)
				break;
			limit = d - 1;
		}
	}
	return best;
}

/* Words that other APIs, panels and people have for one thing, a line each, spaces around each word; earlier lines go first. */
static const char *const same[] = {
	" per_page limit page_size pagesize perpage size count max_results take ",
	" page offset page_number start skip ",
	" cursor after starting_after page_token next continuation ",
	" sort sort_by order_by orderby sortby ",
	" order direction dir sort_order sort_dir ",
	" search q query find keyword filter ",
	" updated_since modified_since changed_since since from ",
	" since from start after start_date updated_since ",
	" until to end before end_date ",
	" address email mail mailbox email_address mail_address name ",
	" destinations destination to forward_to target targets goto recipients ",
	" domain name hostname host fqdn domain_name domainname site ",
	" username user user_name login name account_name ",
	" user username db_user database_user login ",
	" name title label display_name database db db_name ",
	" account account_name customer client tenant username owner ",
	" account_id customer_id client_id tenant_id ",
	" owner user username ",
	" email mail email_address contact ",
	" password pass passwd pwd secret ",
	" document_root root docroot webroot directory path ",
	" quota_mb quota size disk_quota limit ",
	" scopes scope permissions permission abilities rights ",
	" allowed_ips ips ip allowed_ip ip_whitelist whitelist cidr addresses ",
	" rate_limit limit rpm requests_per_minute ",
	" expires_at expires expiry expiration expire_at valid_until ",
	" engine type server db_type kind ",
	" php_version php version ",
	" runtime type handler language ",
	" proxy_target target upstream backend port ",
	" https_redirect force_https force_ssl redirect_https ",
	" aliases alias server_alias server_aliases ",
	" names sans san alt_names domains subject_alt_names ",
	" private_key key privkey ",
	" certificate cert crt fullchain pem ",
	" chain ca ca_bundle cabundle bundle ",
	" auto_renew renew autorenew ",
	" schedule cron cron_expression expression when time ",
	" command cmd script ",
	" kind type ",
	" note comment description ",
	" description comment note about ",
	" role type level group ",
	" grace_s grace grace_seconds grace_period ",
	" descendants children recursive ",
	" cascade force recursive ",
	" dry_run dryrun simulate validate_only test ",
	" confirm confirmation ",
};

static bool has_word(const char *words, const char *word)
{
	char found[NEAREST_WORD_MAX + 3];
	size_t n = 1;

	found[0] = ' ';
	for (const char *c = word; *c && n <= NEAREST_WORD_MAX; c++) {
		if (isupper((unsigned char)*c) && n > 1 && islower((unsigned char)c[-1]) && n <= NEAREST_WORD_MAX)
			found[n++] = '_'; /* pageSize */
		if (n <= NEAREST_WORD_MAX)
			found[n++] = *c == '-' ? '_' : (char)lower(*c);
	}
	found[n++] = ' ';
	found[n] = '\0';
	return n > 2 && strlen(word) <= NEAREST_WORD_MAX && strstr(words, found);
}

const char *intended(const char *word, const char *const *candidates, size_t n)
{
	for (size_t s = 0; s < sizeof same / sizeof *same; s++)
		for (size_t i = 0; i < n && has_word(same[s], word); i++) {
			size_t len = strlen(candidates[i]);

			if (strncmp(same[s] + 1, candidates[i], len) == 0 && same[s][len + 1] == ' ')
				return candidates[i]; /* a line's first word is the one that is used here */
		}
	return nearest(word, candidates, n);
}
