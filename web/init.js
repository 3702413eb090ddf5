// Shows the API's description with Swagger UI. Where the server keeps it closed, a token is asked for first.
'use strict';

const dialects = { envelope: 'Envelope, below /api/v1', plain: 'Plain, below /api' };
const chosen = new URLSearchParams(location.search).get('dialect') === 'plain' ? 'plain' : 'envelope';
const description = `/api/openapi.json?dialect=${chosen}`;
const form = document.getElementById('closed');

// What most operations answer alike is folded until it is asked for: errors, and the headers of an answer.
const folded = ({ React }) => {
	const { createElement: make, useState } = React;
	return { wrapComponents: {
		response: (Original) => function Response(props) {
			const [open, setOpen] = useState(false);
			if (open || Number(props.code) < 400)
				return make(Original, props);
			return make('tr', { className: 'response' },
				make('td', { className: 'response-col_status' }, props.code),
				make('td', { className: 'response-col_description', colSpan: 2 },
					make('button', { type: 'button', className: 'fold', 'aria-expanded': false, onClick: () => setOpen(true) },
						props.response.get('description'))));
		},
		headers: (Original) => (props) => make('details', { className: 'fold' }, make('summary', null, 'Headers'), make(Original, props)),
	} };
};

// One dialect at a time; the other is another address of this page.
function choice() {
	const select = document.createElement('select');
	for (const [value, name] of Object.entries(dialects))
		select.append(new Option(name, value, false, value === chosen));
	select.addEventListener('change', () => { location.search = `?dialect=${select.value}`; });
	select.id = 'dialect';
	const label = document.createElement('label');
	label.append('Dialect ', select);
	const bar = document.createElement('p');
	bar.id = 'choice';
	bar.append(label);
	document.getElementById('docs').before(bar);
}

function show(token) {
	form.hidden = true;
	choice();
	window.ui = SwaggerUIBundle({
		url: description,
		dom_id: '#docs',
		deepLinking: true,
		docExpansion: 'list',
		defaultModelsExpandDepth: -1,
		defaultModelExpandDepth: 3,
		plugins: [folded],
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
