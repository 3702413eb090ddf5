// Shows the API's description with Swagger UI. Where the server keeps it closed, a token is asked for first.
'use strict';

const description = '/api/openapi.json';
const form = document.getElementById('closed');

function show(token) {
	form.hidden = true;
	window.ui = SwaggerUIBundle({
		url: description,
		dom_id: '#docs',
		deepLinking: true,
		docExpansion: 'none',
		defaultModelsExpandDepth: -1,
		displayRequestDuration: true,
		filter: true,
		persistAuthorization: false,
		requestInterceptor: (request) => {
			if (request.loadSpec && token)
				request.headers.Authorization = `Bearer ${token}`;
			return request;
		},
		validatorUrl: null,
	});
}

async function load(token) {
	const response = await fetch(description, { method: token ? 'GET' : 'HEAD', headers: token ? { Authorization: `Bearer ${token}` } : {} });
	if (response.ok) {
		show(token);
		return;
	}
	document.getElementById('docs').hidden = true;
	form.hidden = false;
	if (token || response.status !== 401) {
		const answer = await response.json().catch(() => null);
		document.getElementById('refused').textContent = answer?.error?.message ?? `The server answered ${response.status}.`;
	}
}

form.addEventListener('submit', (event) => {
	event.preventDefault();
	document.getElementById('docs').hidden = false;
	load(document.getElementById('token').value.trim());
});

if (typeof SwaggerUIBundle === 'function')
	load('');
