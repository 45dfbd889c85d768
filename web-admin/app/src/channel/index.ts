export { Answer, type Asked, Channel, type SocketLike, SpaceSocket, askForKey } from './channel.js';
export { ChannelError } from './stream.js';
