/* shares.c: see shares.h. */
#include "shares.h"

enum share shares_take(struct shares *s, int64_t account, int most, int each)
{
	enum share got = SHARE_NONE;
	int own = 0;

	pthread_mutex_lock(&s->lock);
	for (int i = 0; i < s->taken; i++)
		own += s->holder[i] == account;
	if (own >= each) {
		got = SHARE_OWN_TAKEN;
	} else if (s->taken < most && s->taken < SHARES_MAX) {
		s->holder[s->taken++] = account;
		got = SHARE_TAKEN;
	}
	pthread_mutex_unlock(&s->lock);
	return got;
}

void shares_give(struct shares *s, int64_t account)
{
	pthread_mutex_lock(&s->lock);
	for (int i = 0; i < s->taken; i++)
		if (s->holder[i] == account) {
			s->holder[i] = s->holder[--s->taken];
			break;
		}
	pthread_mutex_unlock(&s->lock);
}
