/**
 * What the router serves, as an OpenAPI 3.1 document. Request bodies are the very schemas that requests are checked
 * against; a route that is not in `routes` is not documented, and one that is there is served (openapi.test.ts asks).
 */
import type { TSchema } from 'typebox';
import * as anthropic from './anthropic-api.request.ts';
import { CompletionRequest } from './openai-api.completions.ts';
import { EmbeddingRequest } from './openai-api.embeddings.ts';
import { ChatRequest } from './openai-api.request.ts';
import * as responses from './responses-api.request.ts';

export interface DocumentedRoute {
  readonly method: 'get' | 'post' | 'delete';
  /** From the root of a server, parameters in braces. */
  readonly path: string;
  readonly summary: string;
  readonly api: 'openai' | 'anthropic' | 'router';
  /** Asked without a key. */
  readonly open?: true;
  readonly body?: { readonly name: string; readonly schema: TSchema };
  /** Answers in server-sent events, if the request says so or always. */
  readonly streams?: 'asked' | 'always';
  readonly query?: readonly string[];
  readonly headers?: readonly string[];
}

const job = ['Idempotency-Key', 'Last-Event-ID', 'X-Auxot-Keep'];
const page = ['limit', 'order', 'after'];

/** Those of the APIs stand below both of their base paths, without `v1`. */
export const routes: readonly DocumentedRoute[] = [
  {
    method: 'post',
    path: '/chat/completions',
    summary: 'Create a chat completion',
    api: 'openai',
    body: { name: 'ChatCompletionRequest', schema: ChatRequest },
    streams: 'asked',
    headers: job,
  },
  {
    method: 'post',
    path: '/completions',
    summary: 'Create a completion of a text',
    api: 'openai',
    body: { name: 'CompletionRequest', schema: CompletionRequest },
    streams: 'asked',
    headers: job,
  },
  {
    method: 'post',
    path: '/embeddings',
    summary: 'Create embeddings',
    api: 'openai',
    body: { name: 'EmbeddingRequest', schema: EmbeddingRequest },
    headers: job,
  },
  { method: 'get', path: '/chat/completions', summary: 'List stored chat completions', api: 'openai', query: page },
  { method: 'get', path: '/chat/completions/{id}', summary: 'Get a stored chat completion', api: 'openai' },
  { method: 'post', path: '/chat/completions/{id}', summary: 'Note other metadata on it', api: 'openai' },
  { method: 'get', path: '/chat/completions/{id}/messages', summary: 'What it was asked with', api: 'openai' },
  { method: 'delete', path: '/chat/completions/{id}', summary: 'Delete a stored chat completion', api: 'openai' },
  {
    method: 'post',
    path: '/responses',
    summary: 'Create a response',
    api: 'openai',
    body: { name: 'ResponseRequest', schema: responses.ResponseRequest },
    streams: 'asked',
    headers: job,
  },
  {
    method: 'post',
    path: '/responses/input_tokens',
    summary: "Count a response's input tokens",
    api: 'openai',
    body: { name: 'ResponseTokensRequest', schema: responses.CountRequest },
  },
  {
    method: 'get',
    path: '/responses/{id}',
    summary: 'Get a response, or go on with its stream',
    api: 'openai',
    streams: 'asked',
    query: ['stream', 'starting_after'],
  },
  { method: 'delete', path: '/responses/{id}', summary: 'Delete a response', api: 'openai' },
  { method: 'post', path: '/responses/{id}/cancel', summary: 'Cancel a background response', api: 'openai' },
  {
    method: 'get',
    path: '/responses/{id}/input_items',
    summary: 'What a response was asked with',
    api: 'openai',
    query: page,
  },
  { method: 'get', path: '/models', summary: 'List models', api: 'openai' },
  { method: 'get', path: '/models/{id}', summary: 'Get a model', api: 'openai' },
  {
    method: 'post',
    path: '/messages',
    summary: 'Create a message',
    api: 'anthropic',
    body: { name: 'MessageRequest', schema: anthropic.MessageRequest },
    streams: 'asked',
    headers: job,
  },
  {
    method: 'post',
    path: '/messages/count_tokens',
    summary: "Count a conversation's tokens",
    api: 'anthropic',
    body: { name: 'MessageTokensRequest', schema: anthropic.CountRequest },
  },
  {
    method: 'get',
    path: '/models',
    summary: "List models, in this API's form",
    api: 'anthropic',
    query: ['limit', 'after_id', 'before_id'],
  },
  { method: 'get', path: '/models/{id}', summary: "Get a model, in this API's form", api: 'anthropic' },
  { method: 'get', path: '/api/jobs/{id}', summary: "A job's answer in one piece, or how it stands", api: 'router' },
  {
    method: 'get',
    path: '/api/jobs/{id}/events',
    summary: "A job's answer, streamed from behind an event",
    api: 'router',
    streams: 'always',
    query: ['starting_after'],
    headers: ['Last-Event-ID'],
  },
  { method: 'post', path: '/api/jobs/{id}/cancel', summary: 'Cancel a job', api: 'router' },
  { method: 'delete', path: '/api/jobs/{id}', summary: 'Cancel a job', api: 'router' },
  { method: 'get', path: '/api/tools/v1/tools', summary: 'Tools that can be called', api: 'router' },
  { method: 'post', path: '/api/tools/v1/execute', summary: 'Run a tool', api: 'router' },
  {
    method: 'post',
    path: '/api/admin/drain',
    summary: "Stop in order, as by SIGTERM (with the workers' key)",
    api: 'router',
  },
  { method: 'get', path: '/health', summary: 'Whether the router works, and its slots', api: 'router', open: true },
  { method: 'get', path: '/openapi.json', summary: 'This document', api: 'router', open: true },
];

/** Base paths of an API; the last one is shared, and decides by path and header. */
export const basePaths = {
  openai: ['/api/openai/v1', '/v1'],
  anthropic: ['/api/anthropic/v1', '/v1'],
  router: [''],
} as const;

const what: Readonly<Record<string, string>> = {
  'Idempotency-Key': 'The same key with the same body is the same job.',
  'Last-Event-ID': 'The id of the last event of the answer that arrived: the answer goes on behind it.',
  'X-Auxot-Keep': 'Seconds for which the job goes on when its caller has gone; 600 at most.',
};

export function openApiDocument(version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    // Below `/v1` two routes of two APIs share a path; each stands there under its own base path.
    const [base = ''] = basePaths[route.api];
    const path = `${base}${route.path}`;
    paths[path] = { ...paths[path], [route.method]: operationOf(route) };
  }
  const bodies = routes.flatMap(({ body }) => (body === undefined ? [] : [[body.name, plain(body.schema)] as const]));
  return {
    openapi: '3.1.0',
    info: {
      title: 'Auxot router',
      version,
      description:
        'The OpenAI and Anthropic APIs, and jobs by their ids. The APIs are served below /v1 too (GET /v1/models is in ' +
        "Anthropic's form for requests with an anthropic-version header), and below any number of repeated v1.",
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
      },
      schemas: { ...Object.fromEntries(bodies), OpenAiError: openAiError, AnthropicError: anthropicError },
    },
  };
}

function operationOf(route: DocumentedRoute): object {
  const { path, method, summary, api, open, body, streams, query = [], headers = [] } = route;
  const ids = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => parameter('path', name));
  const parameters = [
    ...ids,
    ...query.map(name => parameter('query', name)),
    ...headers.map(name => parameter('header', name)),
  ];
  const error = { $ref: `#/components/schemas/${api === 'anthropic' ? 'AnthropicError' : 'OpenAiError'}` };
  const json = { 'application/json': { schema: { type: 'object' } } };
  const sse = { 'text/event-stream': { schema: { type: 'string' } } };
  return {
    operationId: `${api}_${method}_${path.replace(/\W+/g, '_').replace(/^_|_$/g, '')}`,
    summary,
    tags: [api],
    ...(open === true ? { security: [] } : api === 'openai' ? {} : { security: [{ bearer: [] }, { apiKey: [] }] }),
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(body === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: { $ref: `#/components/schemas/${body.name}` } } },
          },
        }),
    responses: {
      200: {
        description: 'The answer.',
        content: { ...(streams === 'always' ? {} : json), ...(streams === undefined ? {} : sse) },
      },
      default: { description: 'An error.', content: { 'application/json': { schema: error } } },
    },
  };
}

function parameter(place: 'path' | 'query' | 'header', name: string): object {
  const description = what[name];
  return {
    name,
    in: place,
    ...(place === 'path' ? { required: true } : {}),
    ...(description === undefined ? {} : { description }),
    schema: { type: 'string' },
  };
}

/** JSON Schema and nothing else: the library marks its schemas with keys of its own, which do not show. */
const plain = (schema: TSchema): unknown => JSON.parse(JSON.stringify(schema));

const text = { type: 'string' };
const openAiError = {
  type: 'object',
  required: ['error'],
  properties: {
    error: {
      type: 'object',
      required: ['message', 'type', 'param', 'code'],
      properties: {
        message: text,
        type: text,
        param: { type: ['string', 'null'] },
        code: { type: ['string', 'null'] },
      },
    },
  },
};
const anthropicError = {
  type: 'object',
  required: ['type', 'error', 'request_id'],
  properties: {
    type: { const: 'error' },
    error: { type: 'object', required: ['type', 'message'], properties: { type: text, message: text } },
    request_id: text,
  },
};
